import { UsageError } from '../base/errors.ts'
import { hostsJsonSchema } from '../machine/host/inventory.ts'
import { explainJsonSchema } from '../report/explain-schema.ts'
import { resultJsonSchema } from '../report/schema.ts'
import { scenarioJsonSchema } from '../scenario/schema.ts'

const SCHEMAS: ReadonlyMap<string, () => unknown> = new Map([
  ['scenario', scenarioJsonSchema],
  ['result', resultJsonSchema],
  ['explain', explainJsonSchema],
  ['hosts', hostsJsonSchema],
])

/** `tdxrig schema`: the contracts, for editors and other programs. */
export const schemaCommand = (name: string): Promise<number> => {
  const schema = SCHEMAS.get(name)
  if (!schema)
    throw new UsageError(
      'NO_SCHEMA',
      `there is no schema '${name}' (there are: ${[...SCHEMAS.keys()].join(', ')})`,
    )
  process.stdout.write(`${JSON.stringify(schema(), null, 2)}\n`)
  return Promise.resolve(0)
}

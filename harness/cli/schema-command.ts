import { UsageError } from '../base/errors.ts'
import { hostsJsonSchema } from '../machine/host/inventory.ts'
import { nightJsonSchema } from '../night/plan-file.ts'
import { explainJsonSchema } from '../report/explain-schema.ts'
import { resultJsonSchema } from '../report/schema.ts'
import { scenarioJsonSchema } from '../scenario/schema.ts'
import { SCHEMA_NAMES, type SchemaName } from './words.ts'

const SCHEMAS: Readonly<Record<SchemaName, () => unknown>> = {
  scenario: scenarioJsonSchema,
  result: resultJsonSchema,
  explain: explainJsonSchema,
  hosts: hostsJsonSchema,
  night: nightJsonSchema,
}

/** `tdxrig schema`: the contracts, for editors and other programs. */
export const schemaCommand = (name: string): Promise<number> => {
  const known = SCHEMA_NAMES.find(each => each === name)
  if (!known)
    throw new UsageError(
      'NO_SCHEMA',
      `there is no schema '${name}' (there are: ${SCHEMA_NAMES.join(', ')})`,
    )
  process.stdout.write(`${JSON.stringify(SCHEMAS[known](), null, 2)}\n`)
  return Promise.resolve(0)
}

import { checkOutputFile, writeWhole } from '../base/output.ts'
import { explainHtml } from './html-files.ts'

/** `tdxrig page`: the tool that explains logs, as one HTML file. */
export const pageCommand = async (path: string): Promise<number> => {
  await checkOutputFile('<file>', path)
  await writeWhole(path, await explainHtml([]))
  process.stdout.write(`${path}: open it in a browser, and drop a log on it\n`)
  return 0
}

import { readFile, stat } from 'node:fs/promises'
import { UsageError, messageOf, systemCode } from './errors.ts'
import { type Complaint, YamlFile } from './yaml-file.ts'

/**
 * Reads and parses a file.
 *
 * @returns the file, or everything that is wrong with its syntax
 * @throws UsageError when it cannot be read
 */
export const readYaml = async (path: string): Promise<YamlFile | Complaint[]> =>
  YamlFile.parse(path, await readText(path))

/** A scenario is a page of text; more is a mistake. */
const MAX_SIZE = 2 ** 20

const readText = async (path: string): Promise<string> => {
  try {
    const { size, isFile } = await stat(path).then(info => ({
      size: info.size,
      isFile: info.isFile() || info.isDirectory(),
    }))
    if (!isFile) throw new Error('it is no regular file')
    if (size > MAX_SIZE)
      throw new Error(`it has ${size} bytes, ${MAX_SIZE} are allowed`)
    return await readFile(path, 'utf8')
  } catch (error) {
    const why =
      systemCode(error) === 'ENOENT'
        ? 'no such file'
        : systemCode(error) === 'EISDIR'
          ? 'it is a directory'
          : messageOf(error)
    throw new UsageError('UNREADABLE', `cannot read ${path}: ${why}`, {
      cause: error,
    })
  }
}

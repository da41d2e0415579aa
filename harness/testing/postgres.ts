import { readdirSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import type { Test } from 'tap'

/** Debian has the server's programs outside of PATH. */
const SERVERS = '/usr/lib/postgresql'

const versions = (): string[] => {
  try {
    return readdirSync(SERVERS)
  } catch {
    return []
  }
}

export const hasPostgres = (): boolean => versions().length > 0

const freePort = (): Promise<number> =>
  new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { readonly port: number }
      server.close(() => {
        resolve(port)
      })
    })
  })

/** A PostgreSQL of our own. */
export interface Postgres {
  /** Makes a database. @returns its URL */
  readonly create: (database: string) => Promise<string>
  /** The server dies, as in a power cut. */
  readonly kill: () => Promise<void>
  readonly start: () => Promise<void>
}

let servers = 0

/** Starts a server, which is removed with the test. */
export const startPostgres = async (
  t: Pick<Test, 'teardown'>,
): Promise<Postgres> => {
  const bin = join(SERVERS, versions().at(-1)!, 'bin')
  const folder = `/tmp/tdxtest-pg-${process.pid}-${servers++}`
  await execa('mkdir', ['-m', '700', folder])
  // It refuses to run as root.
  const asUser =
    process.getuid?.() === 0
      ? ['setpriv', '--reuid=postgres', '--regid=postgres', '--clear-groups']
      : []
  if (asUser.length > 0) await execa('chown', ['postgres:', folder])
  const run = (program: string, ...args: string[]) =>
    execa('env', ['-C', folder, ...asUser, join(bin, program), ...args])
  const port = await freePort()
  const data = `${folder}/data`
  await run('initdb', '-D', data, '-A', 'trust', '-U', 'postgres')
  const options = `-c listen_addresses=127.0.0.1 -p ${port} -k ${folder}`
  const start = async (): Promise<void> => {
    await run('pg_ctl', '-D', data, '-w', '-l', 'log', '-o', options, 'start')
  }
  const kill = async (): Promise<void> => {
    await run('pg_ctl', '-D', data, '-m', 'immediate', 'stop')
  }
  await start()
  t.teardown(async () => {
    await kill().catch(() => undefined)
    await execa('rm', ['-rf', folder])
  })
  return {
    kill,
    start,
    create: async name => {
      const at = ['-h', folder, '-p', String(port), '-U', 'postgres']
      await run('createdb', ...at, name)
      return `postgres://postgres@127.0.0.1:${port}/${name}`
    },
  }
}

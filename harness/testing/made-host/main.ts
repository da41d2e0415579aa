import { mkdtemp, rm } from 'node:fs/promises'
import { Workspace } from '../../run/workspace.ts'
import { makeUserland, whyNoHosts } from './image.ts'
import { Lab, type LabOptions } from './lab.ts'

/**
 * Made hosts for people: `prepare` fetches what they are made of, `up COUNT
 * [KERNEL...]` puts them up until Ctrl-C; these kernels find a TDX module, too.
 * `uefi` is `up` with UEFI and systemd-boot.
 */
const prepare = async (): Promise<void> => {
  await makeUserland()
}

const up = async (
  count: number,
  made: Pick<LabOptions, 'alsoKnown' | 'uefi'>,
): Promise<void> => {
  const why = await whyNoHosts()
  if (why !== undefined) throw new TypeError(why)
  const stop = new Promise<void>(resolve => {
    process.once('SIGINT', resolve)
    process.once('SIGTERM', resolve)
  })
  await using workspace = Workspace.create()
  const directory = await mkdtemp('/tmp/made-')
  const names = Array.from({ length: count }, (_, i) => `made-${i + 1}`)
  try {
    await using lab = await Lab.create({
      directory,
      workspace,
      hosts: names,
      ...made,
    })
    await Promise.race([Promise.all(lab.hosts.map(host => host.up())), stop])
    process.stdout.write(
      `${names.join(', ')}: up; --hosts ${lab.inventory}\nCtrl-C ends them\n`,
    )
    await stop
    for (const { name, troubles } of lab.hosts)
      for (const text of troubles) process.stderr.write(`${name}: ${text}\n`)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

const [verb = 'up', count = '1', ...alsoKnown] = process.argv.slice(2)
if (verb === 'prepare') await prepare()
else if (/^(up|uefi)$/.test(verb) && /^[1-9]$/.test(count))
  await up(Number(count), { alsoKnown, uefi: verb === 'uefi' })
else {
  process.stderr.write(
    `expected prepare, or up or uefi with 1 to 9 and kernels, found '${[verb, count].join(' ')}'\n`,
  )
  process.exitCode = 2
}

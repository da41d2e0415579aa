import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { projectRoot } from '../base/paths.ts'
import { noBrowser, startBrowser } from '../testing/browser.ts'
import { runCli } from '../testing/cli.ts'

/** The page that explains logs, in a real browser. */

const golden = (name: string): string => {
  const text = readFileSync(
    join(projectRoot(), 'harness/console/golden', `${name}.txt`),
    'latin1',
  )
  return text.slice(text.indexOf('\n\n') + 2)
}

t.test('the page in Chromium', { skip: noBrowser }, async t => {
  const open = await startBrowser(t)
  const folder = t.testdir({})
  const run = (...args: string[]) => runCli(args, { cwd: folder })
  const path = join(folder, 'page.html')
  const made = await run('page', path)
  t.equal(made.code, 0, made.stderr)
  const url = pathToFileURL(path).href
  const log = golden('upstream-6.12-seventeen')

  await t.test('explains what is pasted', async t => {
    const { page, requests, trouble } = await open(url)
    await page.locator('#text').fill(log)
    await page.locator('#explain').click()
    const shown = page.locator('.explained')
    await shown.waitFor()
    const text = await shown.innerText()
    t.match(text, /failed at reserved-areas \(-28\)/)
    t.match(text, /What to do/)
    t.ok(await shown.locator('svg.map .mark').first().isVisible())
    await shown.getByText('a scenario that boots').click()
    const download = page.waitForEvent('download')
    await shown.getByRole('button', { name: 'download' }).click()
    const scenario = join(folder, 'replay.yaml')
    await (await download).saveAs(scenario)
    const predicted = await run('predict', scenario, '--json')
    t.match(
      JSON.parse(predicted.stdout),
      { cases: [{ stage: 'reserved-areas' }] },
      'the scenario is one',
    )
    t.same(requests, [], 'nothing leaves the page')
    t.same(trouble, [])
  })

  await t.test('says the same as the command line', async t => {
    for (const name of ['upstream-6.12-memory-outside', 'v6-6.1-two-uneven']) {
      const file = join(folder, `${name}.txt`)
      writeFileSync(file, golden(name))
      const { page } = await open(url)
      await page.locator('#file').setInputFiles(file)
      const shown = page.locator('.explained')
      await shown.waitFor()
      const text = await shown.innerText()
      const json = await run('explain', '--json', file)
      const [explained] = (
        JSON.parse(json.stdout) as {
          logs: {
            outcome: string
            cause: string | null
            advice: string[]
            notes: string[]
          }[]
        }
      ).logs
      t.match(text, explained!.outcome)
      for (const line of [
        ...(explained!.cause === null ? [] : [explained!.cause]),
        ...explained!.advice,
        ...explained!.notes,
      ])
        t.ok(text.includes(line), line)
    }
  })

  await t.test('takes packed files, and says what it cannot take', async t => {
    const { page } = await open(url)
    const packed = join(folder, 'dmesg.gz')
    writeFileSync(packed, gzipSync(log))
    await page.locator('#file').setInputFiles(packed)
    await page.locator('.explained').waitFor()
    const xz = join(folder, 'dmesg.xz')
    writeFileSync(xz, Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 1]))
    await page.locator('#file').setInputFiles(xz)
    await page.getByText('cannot unpack').waitFor()
    t.pass('both were told')
  })

  await t.test('a hostile log runs nothing', async t => {
    const { page, requests, trouble } = await open(url)
    const script =
      '<script>window.broken=1</script><img src=x onerror=window.broken=1>'
    await page
      .locator('#text')
      .fill(
        log
          .replaceAll('virt/tdx', `virt/tdx: ${script} virt/tdx`)
          .replace(/Command line: .*/, `Command line: ${script}\u001b[2J`),
      )
    await page.locator('#explain').click()
    await page.locator('.explained').waitFor()
    t.equal(await page.evaluate('window.broken'), undefined)
    t.same(requests, [])
    t.same(trouble, [])
  })

  await t.test('a page made with its log needs no script', async t => {
    const file = join(folder, 'log.txt')
    writeFileSync(file, log)
    const target = join(folder, 'explained.html')
    const { code } = await run('explain', file, '--html', target)
    t.equal(code, 0)
    t.match(readFileSync(target, 'utf8'), /failed at reserved-areas \(-28\)/)
  })
})

import { createServer } from 'node:http'
import { Gauge, Registry } from 'prom-client'
import { UsageError, messageOf } from '../../base/errors.ts'
import { listNights } from '../../night/nights.ts'
import { type NightStatus, statusOf } from '../../night/status.ts'
import type { NightDatabase } from '../../night/tables.ts'

/** How a night stands, in the text form of Prometheus. */
export const metricsText = (status: NightStatus): Promise<string> => {
  const registry = new Registry()
  const gauge = <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    values: readonly (readonly [Partial<Record<L, string>>, number])[],
  ): void => {
    const one = new Gauge({
      name: `tdxrig_${name}`,
      help,
      labelNames: [...labelNames],
      registers: [registry],
    })
    for (const [labels, value] of values)
      one.labels(labels as Record<L, string>).set(value)
  }
  const night = status.name
  gauge(
    'night_running',
    '1 while the night is under way',
    ['night'],
    [[{ night }, status.state === 'running' ? 1 : 0]],
  )
  gauge(
    'night_elapsed_seconds',
    'since it began',
    ['night'],
    [[{ night }, status.elapsedSeconds]],
  )
  gauge(
    'night_cases',
    'cases that are settled, by class',
    ['night', 'class'],
    Object.entries(status.classes).map(([is, count]) => [
      { night, class: is },
      count,
    ]),
  )
  gauge(
    'night_cases_open',
    'cases that are not settled',
    ['night'],
    [[{ night }, status.open]],
  )
  gauge(
    'night_boots',
    'boots that are over, by verdict',
    ['night', 'verdict'],
    Object.entries(status.boots).map(([verdict, count]) => [
      { night, verdict },
      count,
    ]),
  )
  gauge(
    'night_boots_running',
    'boots under way',
    ['night'],
    [[{ night }, status.running.length]],
  )
  gauge(
    'worker_up',
    '1 for a worker that takes cases',
    ['worker'],
    status.workers.map(({ name, state, unfit }) => [
      { worker: name },
      state === 'up' && unfit === null ? 1 : 0,
    ]),
  )
  gauge(
    'worker_silent_seconds',
    'since it was heard of',
    ['worker'],
    status.workers.map(({ name, silentSeconds }) => [
      { worker: name },
      silentSeconds,
    ]),
  )
  return registry.metrics()
}

export interface MetricsServer extends AsyncDisposable {
  readonly url: string
}

/** Answers Prometheus. @throws UsageError for an address that is taken */
export const serveMetrics = async (
  db: NightDatabase,
  { host, port }: { readonly host: string; readonly port: number },
): Promise<MetricsServer> => {
  const answer = async (): Promise<string> => {
    const [night] = await listNights(db, { limit: 1 })
    return night ? metricsText(await statusOf(db, night)) : ''
  }
  const server = createServer((request, response) => {
    if (request.url !== '/metrics') {
      response.writeHead(404).end('expected /metrics\n')
      return
    }
    answer().then(
      text => {
        response
          .writeHead(200, { 'content-type': 'text/plain; version=0.0.4' })
          .end(text)
      },
      (error: unknown) => {
        response.writeHead(503).end(`${messageOf(error)}\n`)
      },
    )
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', error => {
      reject(
        new UsageError(
          'METRICS',
          `cannot listen on ${host}:${port} for --metrics: ${error.message}`,
        ),
      )
    })
    server.listen(port, host, resolve)
  })
  const address = server.address()
  const open = typeof address === 'object' && address ? address.port : port
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${open}/metrics`,
    [Symbol.asyncDispose]: () =>
      new Promise(resolve => {
        server.close(() => {
          resolve()
        })
        server.closeAllConnections()
      }),
  }
}

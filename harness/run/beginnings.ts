import type { Case } from '../scenario/case.ts'

/** Cases whose boots seem to begin in the same way. */
class Group {
  readonly first: Case
  size = 0
  /** The first one is over. */
  readonly over: Promise<void>
  end: () => void = () => undefined

  constructor(first: Case) {
    this.first = first
    this.over = new Promise(resolve => {
      this.end = resolve
    })
  }
}

/**
 * Which cases of a run do the same until their kernel calls VMX or the TDX
 * module. A machine that can do that part once is given the first of them
 * first. It looks closer than this does, and decides.
 */
export class Beginnings {
  readonly #groups = new Map<string, Group>()
  readonly #groupOf = new Map<Case, Group>()

  constructor(cases: readonly Case[]) {
    for (const item of cases) {
      const key = beginningOf(item)
      const group = this.#groups.get(key) ?? new Group(item)
      group.size++
      this.#groups.set(key, group)
      this.#groupOf.set(item, group)
    }
  }

  /** Others begin as it does. */
  isShared(item: Case): boolean {
    return (this.#groupOf.get(item)?.size ?? 0) > 1
  }

  isFirst(item: Case): boolean {
    return this.#groupOf.get(item)?.first === item
  }

  /** Resolves when the case is the first, or the first is over. */
  async turnOf(item: Case): Promise<void> {
    if (!this.isFirst(item)) await this.#groupOf.get(item)?.over
  }

  /** Its boots are over, however they ended. */
  done(item: Case): void {
    if (this.isFirst(item)) this.#groupOf.get(item)?.end()
  }
}

const beginningOf = ({
  kernel,
  machine,
  words,
  steps,
  allocations,
  platform: { keyids, keyidMsrFaults, seamretClearsVmcs, x2apic, vmx },
}: Case): string =>
  JSON.stringify(
    [
      kernel,
      machine,
      words,
      steps,
      allocations?.of,
      [keyids, keyidMsrFaults, seamretClearsVmcs, x2apic, vmx],
    ],
    (_, value: unknown) => (typeof value === 'bigint' ? String(value) : value),
  )

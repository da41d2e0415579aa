import { type PlaceName, QEMU_PLACES, hostOf, hostPlace } from './plan.ts'
import type { Worker } from './workers.ts'

/** The machines that are there now, and what they can boot. */
export class Floor {
  /** Boots at a time, by place. */
  readonly slots: ReadonlyMap<PlaceName, number>
  readonly #workers: readonly Worker[]
  readonly #aside: ReadonlySet<string>

  /** @param aside hosts that are given no further case */
  constructor(workers: readonly Worker[], aside: ReadonlySet<string>) {
    this.#workers = workers.filter(({ state }) => state === 'up')
    this.#aside = aside
    const slots = new Map<PlaceName, number>()
    for (const { offer, unfit } of this.#workers) {
      if (unfit !== null) continue
      const { qemu, hosts } = offer
      for (const place of QEMU_PLACES)
        if (qemu && (place !== 'qemu-kvm' || qemu.kvm))
          slots.set(place, (slots.get(place) ?? 0) + qemu.jobs)
      for (const { name } of hosts)
        if (!aside.has(name)) slots.set(hostPlace(name), 1)
    }
    this.slots = slots
  }

  /** It takes cases of this place. */
  isThere(machine: string, place: PlaceName): boolean {
    return hostOf(place) === undefined
      ? this.#boots(place).includes(machine)
      : this.slots.has(hostPlace(machine))
  }

  /** Another machine could boot what this one has booted. */
  hasOther(machine: string, places: readonly PlaceName[]): boolean {
    return places.some(place => {
      const host = hostOf(place)
      return host === undefined
        ? this.#boots(place).some(name => name !== machine)
        : host !== machine && this.slots.has(place)
    })
  }

  get hosts(): Worker['offer']['hosts'] {
    return this.#workers.flatMap(({ offer }) => offer.hosts)
  }

  /** Guests are booted here, once whoever offers it is fit for it. */
  mayBoot(place: PlaceName): boolean {
    return this.#workers.some(
      ({ offer: { qemu } }) =>
        qemu !== null && (place !== 'qemu-kvm' || qemu.kvm),
    )
  }

  /** Somebody builds kernels. @param machine where; null: anywhere */
  builds(machine: string | null): boolean {
    return this.#workers.some(
      ({ offer }) =>
        offer.builds && (machine === null || offer.machine === machine),
    )
  }

  isAside(host: string): boolean {
    return this.#aside.has(host)
  }

  /** Workers that boot guests of a place. */
  #boots(place: PlaceName): string[] {
    return this.#workers
      .filter(
        ({ offer, unfit }) =>
          unfit === null &&
          offer.qemu !== null &&
          (place !== 'qemu-kvm' || offer.qemu.kvm),
      )
      .map(({ name }) => name)
  }
}

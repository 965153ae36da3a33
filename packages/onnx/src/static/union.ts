/** Sets of names that grow together: which tensors share a scale. */
export class Union {
  readonly #parent = new Map<string, string>()

  /** The name that stands for a set: its first member. */
  find(name: string): string {
    let root = name
    for (let up = this.#parent.get(root); up !== undefined; up = this.#parent.get(root)) root = up
    // Later look-ups take the short way.
    for (let at = name; at !== root; ) {
      const up = this.#parent.get(at) ?? root
      this.#parent.set(at, root)
      at = up
    }
    return root
  }

  join(a: string, b: string): void {
    const first = this.find(a)
    const second = this.find(b)
    if (first !== second) this.#parent.set(second, first)
  }
}

interface Node {
  readonly next: Map<number, Node>
  id: number | undefined
}

/** Finds fixed spellings in text: the leftmost, and of those that start there the longest. */
export class Literals {
  readonly #root: Node = { next: new Map(), id: undefined }
  readonly #spellings = new Map<number, string>()
  readonly size: number

  constructor(spellings: Iterable<readonly [spelling: string, id: number]>) {
    let size = 0
    for (const [spelling, id] of spellings) {
      if (spelling === '') continue
      let node = this.#root
      for (let i = 0; i < spelling.length; i++) {
        const unit = spelling.charCodeAt(i)
        let child = node.next.get(unit)
        if (child === undefined) node.next.set(unit, (child = { next: new Map(), id: undefined }))
        node = child
      }
      node.id = id
      this.#spellings.set(id, spelling)
      size++
    }
    this.size = size
  }

  spellingOf(id: number): string {
    return this.#spellings.get(id) ?? ''
  }

  /** All spellings that start at a place, the shortest first. */
  *matches(text: string, at: number): Generator<{ readonly id: number; readonly length: number }> {
    let node: Node | undefined = this.#root
    for (let i = at; i < text.length; i++) {
      node = node.next.get(text.charCodeAt(i))
      if (node === undefined) return
      if (node.id !== undefined) yield { id: node.id, length: i + 1 - at }
    }
  }

  /** The longest spelling that starts at a place: its id and length. */
  match(text: string, at: number): { readonly id: number; readonly length: number } | undefined {
    if (!this.#root.next.has(text.charCodeAt(at))) return undefined
    let found: { readonly id: number; readonly length: number } | undefined
    for (found of this.matches(text, at));
    return found
  }

  /** The text in pieces: ids of spellings, and what stands between them. */
  split(text: string): (number | string)[] {
    if (this.size === 0) return text === '' ? [] : [text]
    const parts: (number | string)[] = []
    let start = 0
    for (let at = 0; at < text.length; ) {
      const found = this.match(text, at)
      if (found === undefined) {
        at++
        continue
      }
      if (at > start) parts.push(text.slice(start, at))
      parts.push(found.id)
      at += found.length
      start = at
    }
    if (start < text.length) parts.push(text.slice(start))
    return parts
  }
}

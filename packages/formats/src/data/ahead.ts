/**
 * Results of slow work over items, in their order: while one is used, the next ones are under way.
 * @param depth - how many
 */
export async function* ahead<T, R>(items: Iterable<T>, depth: number, work: (item: T) => Promise<R>): AsyncGenerator<R> {
  const started: Promise<R>[] = []
  for (const item of items) {
    const result = work(item)
    // Whoever waits for it gets the error; nobody may.
    result.catch(() => {})
    started.push(result)
    const first = started.length > depth ? started.shift() : undefined
    if (first !== undefined) yield await first
  }
  for (const result of started) yield await result
}

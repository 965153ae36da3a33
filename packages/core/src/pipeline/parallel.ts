/**
 * Results of `work` in the order of the items, with at most `concurrency` under way. After a failure nothing new is begun;
 * the first failure is thrown once what was under way has ended.
 */
export async function inParallel<T, R>(items: readonly T[], concurrency: number, work: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length)
  let next = 0
  let failed = false
  const lane = async (): Promise<void> => {
    while (next < items.length && !failed) {
      const i = next++
      try {
        results[i] = await work(items[i], i)
      } catch (error) {
        failed = true
        throw error
      }
    }
  }
  const lanes = await Promise.allSettled(Array.from({ length: Math.max(1, Math.min(concurrency, items.length)) }, lane))
  const failure = lanes.find((l) => l.status === 'rejected')
  if (failure !== undefined) throw failure.reason
  return results
}

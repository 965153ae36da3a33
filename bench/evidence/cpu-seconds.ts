/** Processor time of this process so far, all threads together: unlike time by the clock it depends little on what else runs. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

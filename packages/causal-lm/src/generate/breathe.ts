/** Milliseconds that work may hold the thread before timers, keys and messages get a turn. */
const HOLD = 16

/** Gives the event loop a turn, if it has not had one for a while. */
export class Breath {
  #last = performance.now()

  async take(): Promise<void> {
    if (performance.now() - this.#last < HOLD) return
    await new Promise<void>((resolve) => {
      // A message comes at once; a timer of 0 waits for 4 milliseconds in browsers.
      const { port1, port2 } = new MessageChannel()
      port1.onmessage = () => {
        port1.close()
        resolve()
      }
      port2.postMessage(0)
    })
    this.#last = performance.now()
  }
}

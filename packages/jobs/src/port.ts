/** What `Worker`, `MessagePort` and the scope of a worker have in common in a browser. */
export interface EventPort {
  postMessage(message: unknown, transfer: Transferable[]): void
  addEventListener(type: string, listener: (event: Event) => void): void
  removeEventListener(type: string, listener: (event: Event) => void): void
  start?(): void
  terminate?(): unknown
  close?(): void
}

/** What `Worker`, `MessagePort` and `parentPort` of `node:worker_threads` have in common. */
export interface NodePort {
  postMessage(message: unknown, transfer?: readonly never[]): void
  on(event: string, listener: (value: unknown) => void): unknown
  off(event: string, listener: (value: unknown) => void): unknown
  unref?(): void
  terminate?(): unknown
  close?(): void
}

/** A worker or a message port, of a browser or of Node. */
export type Port = EventPort | NodePort

/** One end of a conversation, alike on every platform. */
export interface Endpoint {
  post(message: unknown, transfer?: readonly Transferable[]): void
  /**
   * @param onError - told when the other end cannot go on
   * @returns what ends the listening
   */
  listen(onMessage: (message: unknown) => void, onError?: (error: unknown) => void): () => void
  close(): void
}

export function endpointOf(port: Port): Endpoint {
  const close = (): void => void (port.terminate?.() ?? port.close?.())
  if ('on' in port) {
    return {
      post: (message, transfer = []) => (port as { postMessage(message: unknown, transfer: readonly Transferable[]): void }).postMessage(message, transfer),
      listen(onMessage, onError = () => {}) {
        const onExit = (code: unknown): void => onError(new Error(`the worker ended with code ${String(code)}`))
        const listeners = [['message', onMessage], ['error', onError], ['exit', onExit]] as const
        for (const [event, listener] of listeners) port.on(event, listener)
        return () => {
          for (const [event, listener] of listeners) port.off(event, listener)
        }
      },
      close,
    }
  }
  return {
    post: (message, transfer = []) => port.postMessage(message, [...transfer]),
    listen(onMessage, onError = () => {}) {
      const message = (event: Event): void => onMessage('data' in event ? event.data : undefined)
      const error = (event: Event): void => onError(new Error('message' in event ? String(event.message) : 'the worker could not be loaded'))
      port.addEventListener('message', message)
      port.addEventListener('error', error)
      port.start?.()
      return () => {
        port.removeEventListener('message', message)
        port.removeEventListener('error', error)
      }
    },
    close,
  }
}

import type { SingleBar } from 'cli-progress'
import type { OnProgress, ProgressEvent } from '@lowbit/core'

const LABELS: Readonly<Record<ProgressEvent['phase'], string>> = {
  open: 'Opening',
  prepare: 'Preparing',
  calibrate: 'Calibrating',
  transform: 'Transforming',
  round: 'Rounding',
  emit: 'Writing',
  compare: 'Comparing',
  rescue: 'Rescuing',
  train: 'Training',
}

/** A bar on standard error, one a phase; nothing where that is not a terminal. */
export function progressBar(enabled: boolean = process.stderr.isTTY): { readonly onProgress: OnProgress; stop(): void } {
  if (!enabled) return { onProgress: () => {}, stop: () => {} }
  // Loaded for those who see it: it takes as much memory as all of the command's own code. Events before it is there draw nothing.
  let Bar: typeof SingleBar | undefined
  void import('cli-progress').then((loaded) => (Bar = loaded.SingleBar))
  let bar: SingleBar | undefined
  let phase: ProgressEvent['phase'] | undefined
  const stop = (): void => {
    bar?.stop()
    bar = undefined
    phase = undefined
  }
  return {
    stop,
    onProgress(event) {
      if (Bar === undefined) return
      if (event.phase !== phase) {
        stop()
        phase = event.phase
        bar = new Bar({ format: `${LABELS[event.phase].padEnd(12)} {bar} {value}/{total}  {item}`, clearOnComplete: true, hideCursor: true, stream: process.stderr, barsize: 24, fps: 10 })
        bar.start(event.total, event.done, { item: event.item ?? '' })
        return
      }
      bar?.setTotal(event.total)
      bar?.update(event.done, { item: event.item ?? '' })
    },
  }
}

/**
 * The words of a job, in the order of `assembly/job.ts`: what one matrix product is told.
 */
export const JOB_WORDS = [
  'kind', 'm', 'groups', 'group', 'groupUsed', 'sub', 'columns', 'codes', 'blockBytes', 'scales', 'zeros', 'offset',
  'x', 'xStride', 'act', 'actStride', 'init', 'initStride', 'ends', 'actGroups', 'bias', 'out', 'outStride', 'split', 'minima',
] as const

export type Job = { readonly [word in (typeof JOB_WORDS)[number]]: number }

/** Writes a job where the kernels read it. */
export function writeJob(words: Int32Array, at: number, job: Job): void {
  JOB_WORDS.forEach((word, i) => {
    words[(at >>> 2) + i] = job[word]
  })
}

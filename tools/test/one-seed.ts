import { configureGlobal } from 'fast-check'

/** Continuous integration draws the same examples each time, so that a change and not chance decides; elsewhere they are new in each run. */
if (process.env.CI !== undefined) configureGlobal({ seed: Number(process.env.FC_SEED ?? 20) })

import { parentPort } from 'node:worker_threads'
import { serveJobs } from '@lowbit/jobs'
import { ALGORITHMS } from '../recipes/algorithms.js'
import { bestLinAlg } from './linalg.js'

/** A thread that rounds sites with the algorithms the command brings. */
if (parentPort !== null) serveJobs({ port: parentPort, algorithms: ALGORITHMS, linalg: bestLinAlg() })

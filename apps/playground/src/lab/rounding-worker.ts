import { serveJobs } from '@lowbit/jobs'
import { ALGORITHMS } from 'lowbit/recipes'
import { bestLinAlg } from './linalg.js'

serveJobs({ algorithms: ALGORITHMS, linalg: bestLinAlg() })

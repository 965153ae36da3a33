/** Checks the Node that runs this file; one JSON line at the end. */
import { checkEngine } from './check.js'

console.log(JSON.stringify({ node: process.versions.node, ...(await checkEngine()) }))

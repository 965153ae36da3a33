#!/usr/bin/env node
import { setFlagsFromString } from 'node:v8'
import { main } from './main.js'

// What is short-lived here are large arrays outside of V8's heap. In a young generation that grows, their small handles lie about
// for long, and the arrays with them.
setFlagsFromString('--semi-space-growth-factor=1')

process.exitCode = await main(process.argv.slice(2))

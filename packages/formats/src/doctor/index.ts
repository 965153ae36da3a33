export { bySeverity, type Finding } from './finding.js'
export { examineGguf } from './examine-gguf.js'
export { examineFolder } from './examine-folder.js'

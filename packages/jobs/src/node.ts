export { folderStore, type FolderStore, type FolderStoreOptions } from './node/folder-store.js'
export { threadRunner, type ExportedBy, type ThreadRunnerOptions } from './node/thread-runner.js'

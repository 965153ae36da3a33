/** npm name and version of this package: they go into every artifact it has a part in. */
export const PACKAGE = '@lowbit/backend-tfjs'
export const VERSION = '0.1.0'

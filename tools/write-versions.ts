import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { filesBelow, publishedPackages } from './workspace.js'

/** Carries each package's version from package.json into its `VERSION` constant: run after `changeset version`. */
for (const { folder, manifest } of publishedPackages()) {
  for (const file of filesBelow(join(folder, 'src')).filter((f) => f.endsWith('version.ts'))) {
    writeFileSync(file, readFileSync(file, 'utf8').replace(/\bVERSION = '[^']*'/, `VERSION = '${manifest.version}'`))
  }
}

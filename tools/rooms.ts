import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

/**
 * Prints the rooms that the options of `quantize` pass: every function of the packages that takes them whole, by file, with the
 * options that it reads. An option that a room hands on alone has left the house by then, and is not followed.
 *
 * `npx tsx tools/rooms.ts`
 */
const root = fileURLToPath(new URL('..', import.meta.url))
const OPTIONS = 'QuantizeOptions'

const files = ts.sys.readDirectory(`${root}packages`, ['.ts'], ['**/node_modules', '**/dist', '**/test'], ['*/src/**/*.ts'])

interface Room {
  readonly file: string
  readonly name: string
  readonly reads: ReadonlySet<string>
}

const rooms: Room[] = []
for (const file of files) {
  const text = ts.sys.readFile(file) ?? ''
  if (!text.includes(OPTIONS)) continue
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true)
  visit(source, source)
}

const byFile = new Map<string, Room[]>()
for (const room of rooms) byFile.set(room.file, [...(byFile.get(room.file) ?? []), room])
for (const [file, inside] of [...byFile].sort(([a], [b]) => a.localeCompare(b))) {
  console.log(file)
  for (const { name, reads } of inside) console.log(`  ${name}: ${reads.size === 0 ? 'hands them on' : [...reads].join(', ')}`)
}
console.log(`\n${OPTIONS} passes ${rooms.length} functions in ${byFile.size} files.`)

function visit(node: ts.Node, source: ts.SourceFile): void {
  if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
    const taken = node.parameters.filter((p) => p.type !== undefined && isOptions(p.type))
    if (taken.length > 0) rooms.push({ file: relative(root, source.fileName), name: nameOf(node), reads: new Set(taken.flatMap((p) => readsOf(p, node.body))) })
  }
  ts.forEachChild(node, (child) => visit(child, source))
}

function isOptions(type: ts.TypeNode): boolean {
  return ts.isTypeReferenceNode(type) && type.typeName.getText() === OPTIONS
}

function nameOf(node: ts.SignatureDeclaration): string {
  const named = node.name ?? (ts.isVariableDeclaration(node.parent) ? node.parent.name : undefined)
  return ts.isConstructorDeclaration(node) ? `constructor of ${node.parent.name?.getText() ?? 'a class'}` : (named?.getText() ?? 'a function without a name')
}

/** Options that a function reads: by destructuring, or as members of the parameter. */
function readsOf({ name }: ts.ParameterDeclaration, body: ts.Node | undefined): string[] {
  if (ts.isObjectBindingPattern(name)) return name.elements.map((e) => (e.propertyName ?? e.name).getText())
  const found: string[] = []
  const walk = (node: ts.Node): void => {
    if (ts.isPropertyAccessExpression(node) && node.expression.getText() === name.getText()) found.push(node.name.getText())
    if (ts.isVariableDeclaration(node) && node.initializer?.getText() === name.getText() && ts.isObjectBindingPattern(node.name)) found.push(...node.name.elements.map((e) => (e.propertyName ?? e.name).getText()))
    ts.forEachChild(node, walk)
  }
  if (body !== undefined) walk(body)
  return found
}

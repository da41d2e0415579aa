import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import ts from 'typescript'
import { projectRoot } from '../base/paths.ts'

/** What one file takes from another, or from a package. */
export interface Import {
  /** Path below harness/, or the name of a package. */
  readonly from: string
  readonly inside: boolean
  /**
   * Gone once it is compiled: `import type`. Of `import { type A }` the import
   * itself stays.
   */
  readonly typeOnly: boolean
  /** What it is called there; `*` for all of it. */
  readonly names: readonly string[]
}

export interface SourceFile {
  /** Path below harness/: `memory/e820.ts`. */
  readonly path: string
  readonly imports: readonly Import[]
  /** Values; a type belongs to whatever it is the type of. */
  readonly exports: readonly string[]
}

const HARNESS = join(projectRoot(), 'harness')

/** Every TypeScript file of the harness. */
export const importGraph = (): Map<string, SourceFile> =>
  new Map(
    readdirSync(HARNESS, { recursive: true, encoding: 'utf8' })
      .filter(path => /\.tsx?$/.test(path))
      .sort()
      .map(path => [path, readSource(path)]),
  )

const readSource = (path: string): SourceFile => {
  const source = ts.createSourceFile(
    path,
    readFileSync(join(HARNESS, path), 'utf8'),
    ts.ScriptTarget.ESNext,
  )
  const imports: Import[] = []
  const exports: string[] = []
  for (const statement of source.statements) {
    imports.push(...importsOf(statement, path))
    exports.push(...exportsOf(statement))
  }
  return { path, imports: [...imports, ...importTypes(source, path)], exports }
}

const target = (
  path: string,
  module: string,
): Pick<Import, 'from' | 'inside'> =>
  module.startsWith('.')
    ? {
        from: relative(HARNESS, join(HARNESS, dirname(path), module)),
        inside: true,
      }
    : { from: module, inside: false }

const importsOf = (statement: ts.Statement, path: string): Import[] => {
  if (ts.isExportDeclaration(statement) && statement.moduleSpecifier) {
    const { exportClause, moduleSpecifier, isTypeOnly } = statement
    const named = exportClause && ts.isNamedExports(exportClause)
    const elements = named ? [...exportClause.elements] : []
    return [
      {
        ...target(path, (moduleSpecifier as ts.StringLiteral).text),
        typeOnly: isTypeOnly,
        names: named ? elements.map(nameThere) : ['*'],
      },
    ]
  }
  if (!ts.isImportDeclaration(statement)) return []
  const clause = statement.importClause
  const bindings = clause?.namedBindings
  const elements =
    bindings && ts.isNamedImports(bindings) ? [...bindings.elements] : []
  const whole = (bindings && ts.isNamespaceImport(bindings)) ?? false
  return [
    {
      ...target(path, (statement.moduleSpecifier as ts.StringLiteral).text),
      typeOnly: clause?.phaseModifier === ts.SyntaxKind.TypeKeyword,
      names: whole ? ['*'] : elements.map(nameThere),
    },
  ]
}

const nameThere = ({
  propertyName,
  name,
}: ts.ImportSpecifier | ts.ExportSpecifier): string =>
  (propertyName ?? name).text

/** `import('./x.ts').Name`, and `await import('./x.ts')`. */
const importTypes = (source: ts.SourceFile, path: string): Import[] => {
  const found: Import[] = []
  const visit = (node: ts.Node): void => {
    if (
      ts.isCallExpression(node) &&
      node.expression.kind === ts.SyntaxKind.ImportKeyword &&
      node.arguments[0] &&
      ts.isStringLiteral(node.arguments[0])
    )
      found.push({
        ...target(path, node.arguments[0].text),
        typeOnly: false,
        names: ['*'],
      })
    if (
      ts.isImportTypeNode(node) &&
      ts.isLiteralTypeNode(node.argument) &&
      ts.isStringLiteral(node.argument.literal)
    )
      found.push({
        ...target(path, node.argument.literal.text),
        typeOnly: true,
        names: ['*'],
      })
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

const exportsOf = (statement: ts.Statement): string[] => {
  if (ts.isExportDeclaration(statement))
    return statement.exportClause && ts.isNamedExports(statement.exportClause)
      ? statement.exportClause.elements.map(({ name }) => name.text)
      : []
  const modifiers = ts.canHaveModifiers(statement)
    ? (ts.getModifiers(statement) ?? [])
    : []
  if (!modifiers.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword))
    return []
  if (ts.isVariableStatement(statement))
    return statement.declarationList.declarations.flatMap(({ name }) =>
      ts.isIdentifier(name) ? [name.text] : [],
    )
  const isValue =
    ts.isFunctionDeclaration(statement) || ts.isClassDeclaration(statement)
  return isValue && statement.name ? [statement.name.text] : []
}

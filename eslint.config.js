import js from '@eslint/js'
import tseslint from 'typescript-eslint'

/**
 * Layers from the ground up: a folder imports from itself and from folders
 * that stand before it, never from one that stands after it.
 */
const LAYERS = [
  'base',
  'memory',
  'tdx',
  'board',
  'guest',
  'console',
  'scenario',
  'kernel',
  'emulate',
  'machine',
  'judge',
  'report',
  'run',
  'reproduce',
  'fuzz',
  'cli',
]

/** These take values and give values: no files, no processes, no sockets. */
const PURE = ['memory', 'tdx', 'console', 'judge', 'report']
const IMPURE_MODULES = [
  'node:fs',
  'node:fs/promises',
  'node:net',
  'node:child_process',
  'execa',
  'tmp',
]

const layerRules = LAYERS.map((layer, level) => ({
  files: [`harness/${layer}/**/*.ts`],
  ignores: ['**/*.test.ts'],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        paths: PURE.includes(layer) ? IMPURE_MODULES : [],
        patterns: [
          {
            group: [...LAYERS.slice(level + 1), 'testing'].map(
              above => `**/${above}/**`,
            ),
            message: `${layer}/ is below that layer: turn the dependency around.`,
          },
        ],
      },
    ],
  },
}))

export default tseslint.config(
  { ignores: ['dist', 'bundles', 'results', 'node_modules', '.tap'] },
  js.configs.recommended,
  {
    files: ['harness/**/*.ts'],
    extends: [...tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: {
        projectService: true,
        tsconfigRootDir: import.meta.dirname,
      },
    },
    rules: {
      'max-lines': [
        'error',
        { max: 400, skipBlankLines: true, skipComments: true },
      ],
      // Indexes are checked where they come from; `!` says so.
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      'no-restricted-properties': [
        'error',
        {
          object: 'process',
          property: 'exit',
          message: 'Only cli/ ends the process.',
        },
      ],
    },
  },
  {
    files: ['harness/cli/**/*.ts'],
    rules: { 'no-restricted-properties': 'off' },
  },
  {
    files: ['harness/**/*.test.ts', 'harness/testing/**/*.ts'],
    rules: {
      // t.test() returns a promise that tap itself waits for.
      '@typescript-eslint/no-floating-promises': 'off',
      '@typescript-eslint/require-await': 'off',
    },
  },
  ...layerRules,
)

import { describe, expect, test } from 'vitest'
import { argumentsOf } from './command-line.ts'

describe('a command', () => {
  test.each([
    [{ argv: ['a', 'b c'] }, ['a', 'b c']],
    [{ cmd: 'a', args: ['b c', ''] }, ['a', 'b c', '']],
    [{ cmd: 'a b', args: ['c'] }, ['a b', 'c']],
    [{ cmd: 'a', args: [] }, ['a']],
    [{ cmd: 'a', args: null, argv: null }, ['a']],
    [{ cmd: ` echo 'a  b' "c \\"d\\" $e" f\\ g '' ` }, ['echo', 'a  b', 'c "d" $e', 'f g', '']],
    [{ cmd: `x'y'"z"` }, ['xyz']],
    [{ cmd: `echo '\\n' "\\n"` }, ['echo', '\\n', '\\n']],
  ])('%j is what it says', (shape, argv) => {
    expect(argumentsOf(shape)).toEqual(argv)
  })

  test.each([
    [{}],
    [{ cmd: '' }],
    [{ cmd: '  ' }],
    [{ argv: [] }],
    [{ argv: ['a'], cmd: 'b' }],
    [{ argv: ['a'], args: ['b'] }],
    [{ args: ['b'] }],
    [{ cmd: `echo 'a` }],
    [{ cmd: 'echo "a' }],
    [{ cmd: 'echo \\' }],
    [{ argv: ['a\0b'] }],
  ])('%j is malformed', (shape) => {
    expect(() => argumentsOf(shape)).toThrow(expect.objectContaining({ code: 'S001' }))
  })
})

import { chmod, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { words } from './instructions.ts'
import { readBuild } from './read.ts'
import { stepList } from './steps.ts'

const read = (...lines: string[]) => stepList('F', lines.join('\n'))

describe('a list of instructions', () => {
  it('is a build, step by step, with comments, blanks and lines that go on', () => {
    const list = read(
      '# what it is',
      'from python:3.12',
      '',
      'RUN apt-get update && \\',
      '  # in between',
      '  apt-get install -y jq',
      'WORKDIR /app',
      'RUN ["printf", "%s\\n", "a b"]',
      'USER me',
      'WORKDIR sub',
      'RUN id   # not a comment here',
      'USER root',
      'START --ready-port=8000 python3 main.py',
    )
    expect(list.from).toBe('python:3.12')
    expect(list.steps).toEqual([
      { run: 'apt-get update &&   apt-get install -y jq' },
      { run: 'mkdir -p /app' },
      { run: "printf '%s\n' 'a b'", workdir: '/app' },
      { run: 'mkdir -p /app/sub' },
      { run: 'id   # not a comment here', workdir: '/app/sub', user: 'me' },
    ])
    expect(list).toMatchObject({ start: 'cd /app/sub && python3 main.py', readyPort: 8000, copies: [] })
  })

  it('has variables, quoted as a shell has them; a step before another value keeps its own', () => {
    const list = read('FROM x', `ENV A=1 B="two \\"words\\"" C='$HOME' D=a\\ b`, 'RUN one', 'ENV A=2', 'RUN two')
    expect(list.env).toEqual({ A: '2', B: 'two "words"', C: '$HOME', D: 'a b' })
    expect(list.steps).toEqual([{ run: 'one', env: { A: '1' } }, { run: 'two' }])
  })

  it('copies files to where Docker copies them', () => {
    const { copies } = read('FROM x', 'WORKDIR /app', 'COPY a.py b/c.py src/', 'COPY --chmod=755 run.sh /usr/bin/run')
    expect(copies.map(({ line, source, path, mode }) => [line, source, path, mode])).toEqual([
      [3, 'a.py', '/app/src/a.py', undefined],
      [3, 'b/c.py', '/app/src/c.py', undefined],
      [4, 'run.sh', '/usr/bin/run', 0o755],
    ])
  })

  it.each([
    [['RUN x'], /F:1: RUN comes before FROM/],
    [['# nothing'], /F:1: it has no FROM/],
    [['FROM x', 'FROM y'], /F:2: there is a second FROM/],
    [['FROM x AS y'], /F:1: FROM takes an image and nothing else/],
    [['FROM x', '', 'ADD a /b'], /F:3: there is no instruction ADD; there are FROM, RUN/],
    [['FROM x', 'RUN'], /F:2: RUN is followed by nothing/],
    [['FROM x', 'RUN a \\', '  b \\'], /F:2: it goes on after the end of the file/],
    [['FROM x', 'RUN --mount=type=cache x'], /F:2: RUN has no option --mount/],
    [['FROM x', 'RUN ["a", 1]'], /F:2: .* is no list of strings/],
    [['FROM x', 'ENV A 1'], /F:2: ENV takes NAME=VALUE, and this is A/],
    [['FROM x', 'ENV A=1 \\', '  B=$A'], /F:2: variables are not expanded here/],
    [['FROM x', 'ENV A="$B"'], /F:2: variables are not expanded here/],
    [['FROM x', 'ENV A="b'], /F:2: a quote is not closed/],
    [['FROM x', 'WORKDIR /a /b'], /F:2: WORKDIR takes one word/],
    [['FROM x', 'COPY a'], /F:2: COPY takes one file or more/],
    [['FROM x', 'COPY a b /c'], /F:2: COPY of several files takes a folder/],
    [['FROM x', 'COPY --from=y a /b'], /F:2: COPY has no option --from=y/],
    [['FROM x', 'COPY a /b', 'COPY c /b'], /F:3: a second file goes to \/b/],
    [['FROM x', 'START a', 'RUN b'], /F:3: RUN comes after START/],
    [['FROM x', 'USER me', 'START a'], /F:3: START runs as root, and USER says me/],
    [['FROM x', 'START --port=1 a'], /F:2: START has no option --port/],
  ])('is refused with its line: %j', (lines, message) => {
    expect(() => read(...lines)).toThrow(message)
  })
})

describe('words', () => {
  it.each([
    ['a  b', ['a', 'b']],
    [`a'b c'"d"\\ e`, ['ab cd e']],
    ['', []],
    [`"a\\$b\\n"`, ['a$b\\n']],
  ])('of %j', (text, found) => {
    expect(words(text)).toEqual(found)
  })
})

describe('a build file', () => {
  let folder: string

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'cli-build-'))
    await mkdir(join(folder, 'sub'))
    await writeFile(join(folder, 'a.sh'), 'echo a')
    await chmod(join(folder, 'a.sh'), 0o750)
  })

  afterEach(async () => {
    await rm(folder, { recursive: true, force: true })
  })

  async function build(text: string, name = 'Build') {
    await writeFile(join(folder, name), text)
    return await readBuild(join(folder, name))
  }

  it('takes along what it copies, with its mode', async () => {
    const { files, from } = await build('FROM x\nCOPY a.sh /a\nCOPY --chmod=644 a.sh /b\n')
    expect(from).toBe('x')
    expect(files).toEqual([
      { path: '/a', content: Buffer.from('echo a'), mode: 0o750 },
      { path: '/b', content: Buffer.from('echo a'), mode: 0o644 },
    ])
  })

  it('refuses to take along what is no file of its folder, or is large', async () => {
    await symlink('/etc/hostname', join(folder, 'link'))
    await writeFile(join(folder, 'large'), Buffer.alloc(1_000_001))
    const copying = (source: string) => build(`FROM x\nCOPY ${source} /a`)
    await expect(copying('none')).rejects.toThrow(/Build:2: none: there is no such file$/)
    await expect(copying('sub')).rejects.toThrow('folders are not copied')
    await expect(copying('link')).rejects.toThrow('outside of the folder')
    await expect(copying('../../etc/passwd')).rejects.toThrow(/no such file|outside/)
    await expect(copying('large')).rejects.toThrow('larger than 1 MB')
  })

  it('is JSON as the API takes it, and may name files beside it', async () => {
    const files = [
      { path: '/a', content: 'aGk=' },
      { path: '/b', source: 'a.sh', mode: '0644' },
    ]
    const steps = ['one', { run: 'two', timeout: 9 }]
    const about = { name: 'web', from: 'x', mem_mib: 512, disk_mib: 64, ready_port: 80, start: 's', env: { A: '1' } }
    expect(await build(JSON.stringify({ ...about, steps, files }), 'build.json')).toEqual({
      name: 'web',
      from: 'x',
      memMiB: 512,
      diskMiB: 64,
      readyPort: 80,
      start: 's',
      env: { A: '1' },
      steps: ['one', { run: 'two', timeoutSec: 9 }],
      files: [
        { path: '/a', content: Buffer.from('hi'), mode: undefined },
        { path: '/b', content: Buffer.from('echo a'), mode: 0o644 },
      ],
    })
  })

  it.each([
    ['{"stepz":[]}', /it has a field stepz; there are name/],
    ['{"steps":[{"run":"a","cwd":"/"}]}', /steps\[0\] has a field cwd/],
    ['{"files":[{"path":"/a"}]}', /files\[0\] has either content, in base64, or source/],
    ['{"files":[{"path":"/a","content":"","mode":"rw"}]}', /files\[0\] has no octal mode/],
    ['{"steps":"a"}', /steps and files are lists/],
    ['{"from":}', /Build: Unexpected token/],
  ])('as JSON is refused: %s', async (text, message) => {
    await expect(build(text)).rejects.toThrow(message)
  })
})

/** `portico images pull REFERENCE` and `portico images build -f FILE`. Ctrl-C ends the work and leaves no image. */

import type { BuildImageOptions, ImageInfo, ImageProgress } from '@portico/sdk'
import type { Command } from 'commander'
import { count } from '../args/count.ts'
import { size as sizeArgument } from '../args/size.ts'
import { readBuild } from '../build/read.ts'
import { CommandError } from '../command-error.ts'
import { size } from '../output/size.ts'
import { printable } from '../output/table.ts'
import { elapsed } from '../output/time.ts'
import type { Session } from '../session.ts'

interface MakeOptions {
  readonly name?: string
  readonly json?: boolean
}

export function addPull(images: Command, session: Session): void {
  images
    .command('pull <reference>')
    .usage('[options] REFERENCE')
    .description('bring an image of a registry here, such as alpine:3.20')
    .option('--name <name>', 'what to call it, NAME or NAME:TAG')
    .option('--json', 'print its record as one line of JSON')
    .action(async (reference: string, { name, json }: MakeOptions) => {
      await using portico = await session.connect()
      const { signal } = session
      const onProgress = shown(session, reference)
      await made(session, json, () => portico.images.pull(reference, { name, onProgress, signal }))
    })
}

interface BuildOptions extends MakeOptions {
  readonly file: string
  readonly cpus?: number
  readonly memory?: number
  readonly disk?: number
}

const help = `
FILE is JSON, as POST /v1/images takes it (a file may have a source beside FILE instead
of its content), or a list of instructions:

  FROM python
  ENV LANG=C.UTF-8
  WORKDIR /app
  COPY main.py /app/
  RUN pip install flask
  START --ready-port=8000 python3 main.py

START goes on in each sandbox of the image. Files are there before the first RUN, and
are below 1 MB each.
`

export function addBuild(images: Command, session: Session): void {
  images
    .command('build')
    .usage('[options] -f FILE --name NAME[:TAG]')
    .description('run steps in a sandbox and keep it as an image')
    .requiredOption('-f, --file <file>', 'what to do; - is standard input')
    .option('--name <name>', 'what to call it, NAME or NAME:TAG')
    .option('--cpus <n>', 'virtual CPUs of it (default: 1)', count)
    .option('--memory <size>', 'memory of it, such as 512M or 2G (default: 1G)', sizeArgument)
    .option('--disk <size>', 'scratch disk of it (default: 4G)', sizeArgument)
    .option('--json', 'print its record as one line of JSON')
    .addHelpText('after', help)
    .action(async ({ file, name: called, json, ...machine }: BuildOptions) => {
      const build = await readBuild(file)
      const name = called ?? build.name
      if (name === undefined) throw new CommandError('cannot build the image: it has no name', 'Pass --name.')
      const options = { ...build, ...(called === undefined ? {} : { tag: undefined }), ...sized(machine) }
      await using portico = await session.connect()
      const { signal } = session
      const onProgress = shown(session, name)
      const onOutput = async ({ text }: { readonly text: string }) => await session.progress.say(text)
      await made(session, json, () => portico.images.build({ ...options, name, onProgress, onOutput, signal }))
    })
}

/** What the command line says of the machine, which goes before what the file says. */
function sized({ cpus, memory, disk }: Pick<BuildOptions, 'cpus' | 'memory' | 'disk'>): Partial<BuildImageOptions> {
  return {
    ...(cpus === undefined ? {} : { vcpus: cpus }),
    ...(memory === undefined ? {} : { memMiB: memory }),
    ...(disk === undefined ? {} : { diskMiB: disk }),
  }
}

async function made(session: Session, json: boolean | undefined, make: () => Promise<ImageInfo>): Promise<void> {
  const begin = performance.now()
  const image = await make()
  const took = elapsed(performance.now() - begin)
  await session.progress.done(`${image.image} ready in ${took} (${size(image.sizeBytes)})`)
  if (json) await session.terminal.printJson(image)
  else await session.terminal.print(`${image.image}\n`)
}

const phases: Readonly<Record<ImageProgress['phase'], string>> = {
  resolve: 'looking up',
  pull: 'pulling',
  unpack: 'unpacking',
  erofs: 'packing',
  create: 'creating a sandbox for',
  files: 'copying files for',
  step: 'building',
  start: 'starting',
  snapshot: 'keeping',
}

/** Shows how far it is, while a person watches. */
function shown(session: Session, what: string) {
  return async ({ phase, doneBytes, totalBytes, step, command = '' }: ImageProgress): Promise<void> => {
    const at = step === undefined ? '' : `: step ${step}: ${command.split('\n', 1)[0]?.slice(0, 60)}`
    const of = totalBytes === undefined ? '' : ` of ${size(totalBytes)}`
    const amount = doneBytes === undefined ? '' : `: ${size(doneBytes)}${of}`
    await session.progress.begin(printable(`${phases[phase]} ${what}${at}${amount}`))
  }
}

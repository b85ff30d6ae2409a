/** The command line: what there is, how it reads, and how Commander's complaints become ours. */

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { addCommands } from './commands.ts'
import { format } from './output/failure.ts'
import { Session } from './session.ts'

const examples = `
Examples:
  portico up
  portico run python -- python3 -c 'print("hi")'
  portico exec "$(portico create python)" --shell 'echo $((6 * 7))'
  portico shell "$id"
  curl "$(portico url "$id" 8000)"
  portico cp . "$id:/app" && portico ls "$id" /app
  portico fork --count 3 "$id" | xargs portico stop
  portico restore "$(portico snapshot "$id")"
  portico stop $(portico list -q)

The platform is what --url and --key say, or PORTICO_URL and PORTICO_API_KEY,
or the one that \`portico up\` runs on this machine. \`admin\` and \`runners\` are the
operator's and take PORTICO_ADMIN_KEY instead.
`

/** The program for a command line of these words, and the session that its commands work in. */
export async function makeProgram(words: readonly string[]): Promise<{ program: Command; session: Session }> {
  const program = new Command('portico')
  const session = new Session(() => program.opts())
  addCommonOptions(
    program.description('Run code that you did not write, each piece in a microVM of its own.'),
    examples,
  )
  await addCommands(program, session, words)
  return { program, session }
}

/** What every program of ours takes, and how it speaks. */
export function addCommonOptions(program: Command, examples: string): void {
  program
    .version(version(), '--version', 'print the version')
    .option('--url <url>', 'the platform')
    .option('--key <key>', 'the API key, or the operator’s')
    .helpOption('-h, --help', 'print help')
    .helpCommand(false)
    .addHelpText('after', examples)
    .configureHelp({ sortOptions: false, showGlobalOptions: false, subcommandTerm })
    .configureOutput({ outputError: (text, write) => write(complaint(text)) })
    .exitOverride()
}

/** A command in the list of all: its name and what it takes. */
function subcommandTerm(command: Command): string {
  return `${command.name()} ${command.usage().replace(/\[options\] ?/, '')}`.trim()
}

/** Commander's `error: …`, as a line and a hint of ours. */
function complaint(text: string): string {
  const [, message = text, suggestion] = /^error: (.*?)(?:\s*\((Did you mean .*)\))?\s*$/s.exec(text) ?? []
  return format(
    `cannot read the command line: ${message}`,
    suggestion ?? '`portico --help` and `portico COMMAND --help` say more.',
  )
}

function version(): string {
  const text = readFileSync(join(import.meta.dirname, '..', 'package.json'), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

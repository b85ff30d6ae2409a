import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CheckoutCopy } from '../checkout-copy.ts'

const lacking = `shift 2; for name; do case $name in cpio | nftables) ;; *) echo "$name installed" ;; esac; done`

test('as root, exactly the missing packages are installed, after one look for new lists when apt does not know them', async () => {
  await using copy = await CheckoutCopy.make()
  await copy.standIn('dpkg-query', lacking)
  const calls = join(copy.root, 'calls')
  await copy.standIn('apt-get', `echo "$@" >>${calls}; [[ $1 == update || -e ${calls}.known ]] && touch ${calls}.known`)
  expect(await copy.run('steps/host-packages.sh')).toMatchObject({ code: 0 })
  const [first, second, third] = (await readFile(calls, 'utf8')).trim().split('\n')
  expect(first).toMatch(/^install .*--no-install-recommends .*nftables cpio$/)
  expect(second).toMatch(/^update /)
  expect(third).toBe(first)
})

test('as another user, the exact line to run is printed and the exit code is 3', async () => {
  await using copy = await CheckoutCopy.make()
  await copy.standIn('dpkg-query', lacking)
  await copy.standIn('as-nobody', 'exec setpriv --reuid 65534 --clear-groups bash "$@"')
  const { code, output } = await copy.run(
    '../../programs/as-nobody',
    join(copy.root, 'deploy/setup/steps/host-packages.sh'),
  )
  expect(code).toBe(3)
  expect(output).toContain('\n  sudo apt-get install --no-install-recommends nftables cpio\n')
})

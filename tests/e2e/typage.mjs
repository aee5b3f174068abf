// age-encryption (typage), as npm has it: an implementation of age by others, with post-quantum hybrid keys.
//
//   node typage.mjs FOLDER keygen                        prints an identity and its recipient
//   node typage.mjs FOLDER seal RECIPIENT...             seals stdin to stdout
//   node typage.mjs FOLDER open IDENTITY                 opens stdin to stdout
//   node typage.mjs FOLDER open-with-passphrase WORDS    the same
//
// FOLDER is the one that npm installed it into. The keys are made for one check: a command line may show them.

import { readFileSync, writeSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const [folder, command, ...args] = process.argv.slice(2)
const age = await import(pathToFileURL(`${folder}/node_modules/age-encryption/dist/index.js`))

function write(bytes) {
  for (let sent = 0; sent < bytes.length; ) sent += writeSync(1, bytes, sent)
}

async function open(decrypter) {
  let file = readFileSync(0)
  const text = file.toString('latin1')
  if (text.startsWith('-----BEGIN')) file = age.armor.decode(text)
  write(await decrypter.decrypt(file))
}

if (command === 'keygen') {
  const identity = await age.generateHybridIdentity()
  console.log(`${identity}\n${await age.identityToRecipient(identity)}`)
} else if (command === 'seal') {
  const encrypter = new age.Encrypter()
  for (const recipient of args) encrypter.addRecipient(recipient)
  write(await encrypter.encrypt(readFileSync(0)))
} else {
  const decrypter = new age.Decrypter()
  if (command === 'open') decrypter.addIdentity(args[0])
  else decrypter.addPassphrase(args[0])
  await open(decrypter)
}

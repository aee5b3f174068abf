// The types of what goes between the parts of the script. For the check of types alone: not a part of the module.

type State = 'waiting' | 'preparing' | 'sending' | 'finishing' | 'reconnecting' | 'paused' | 'done' | 'failed' | 'cancelled';

/**
 * What follows from a failure:
 * - `again`: it goes on by itself, however long that takes;
 * - `fault`: the server failed; again, but not for ever;
 * - `anew`: the server does not have the upload any more;
 * - `join`: it does not know the upload that a new one was to join;
 * - `person`: somebody has to do something first;
 * - `never`: it would be refused each time.
 */
type Follows = 'again' | 'fault' | 'anew' | 'join' | 'person' | 'never';

/** What the server says to the script, in `#page-data`. */
interface PageData {
  endpoint: string;
  maxSize: number;
  /** What a link takes, in files and bytes; nothing where there is no such limit. */
  mostFiles: number | null;
  mostBytes: number | null;
  /** Media types, and extensions with their dot. Everything, where it is empty. */
  accept: string[];
  maxName: number;
  maxFields: number;
  recipients: { name: string | null; fingerprint: string }[];
  messages: { [key: string]: string | { [category: string]: string } };
  receipt: { unnamed: string; 'text-fields': string; byte: string; bytes: string };
  /** Whether there is anything to write. */
  hasFields: boolean;
  problems: { [code: string]: string };
}

/** The receipt of one upload. What expired before it was fetched has no more than its size and name. */
interface Receipt {
  id?: string;
  submission?: string;
  kind?: string;
  name?: string | null;
  size: number;
  sha256?: string;
  time?: string;
  recipients?: string[];
}

interface RequestOptions {
  headers?: { [name: string]: string };
  body?: Blob;
  signal?: AbortSignal;
  /** Told how much of the body is on its way, and when that is all. */
  moved?: (sent: number, all: boolean) => void;
}

interface Chosen {
  path: string;
  file: File;
}

interface Gathered {
  files: Chosen[];
  /** How many could not be read. */
  unreadable: number;
}

type Values = { [name: string]: string | number };

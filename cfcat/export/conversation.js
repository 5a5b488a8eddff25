/** The longest silence of a server that is waited for, in milliseconds. */
const PATIENCE_MS = 10_000;

/** One connection. Nothing is read before it is waited for, so that nothing is under way at an upgrade. */
class Conversation {
  /**
   * @param {Socket} socket
   * @param {Uint8Array[]} heard gets all that is read
   * @param {boolean} lenient is a broken connection an end like any other? For servers that end without close_notify.
   */
  constructor(socket, heard, lenient = false) {
    this.socket = socket;
    this.heard = heard;
    this.lenient = lenient;
    this.pending = ""; // what was read and not waited for, a character a byte
    this.ended = false;
    /** @type {Promise<unknown>} */
    this.sent = Promise.resolve();
    this.reader = socket.readable.getReader();
    this.writer = socket.writable.getWriter();
  }

  /**
   * Begins to send strings, as UTF-8, and bytes.
   * @param {(string | Uint8Array)[]} parts
   */
  send(...parts) {
    this.sent = Promise.all([this.sent, this.writer.write(concat(parts))]);
    this.sent.catch(() => {}); // who awaits it later is told
  }

  /**
   * Waits for so many lines, the last of which begins in a certain way.
   * @param {number} count
   */
  async lines(count, begins = "") {
    let last = "";
    for (let line = 1; line <= count; line++) {
      last = await this.until(`line ${line} of ${count}`, (text) => text.indexOf("\n") + 1 || -1);
    }
    check(last.slice(0, begins.length), begins, last);
  }

  /**
   * Waits for so many bytes, and for nothing else but `exactly` where that is given.
   * @param {number} count
   */
  async bytes(count, exactly = "") {
    const bytes = await this.until(`${count} bytes`, (text) => (text.length < count ? -1 : count));
    if (exactly) check(bytes, exactly, bytes);
  }

  /** Waits for a match. @param {RegExp} pattern */
  async match(pattern) {
    await this.until(`${pattern}`, (text) => {
      const found = pattern.exec(text);
      return found === null ? -1 : found.index + found[0].length;
    });
  }

  /** Waits for a reply, which must match at its beginning: one line, or all lines of a code. @param {RegExp} pattern */
  async reply(pattern) {
    const reply = await this.until("a reply", (text) => {
      const found = /^(?:(\d{3})-[^\n]*\n(?:[^\n]*\n)*?\1(?=[ \r\n])[^\n]*\n|(?!\d{3}-)[^\n]*\n)/.exec(text);
      return found === null ? -1 : found[0].length;
    });
    const found = pattern.exec(reply);
    if (found === null || found.index > 0) throw new Error(`the server says ${JSON.stringify(reply)}, not ${pattern}`);
  }

  /** Reads to the server's end. */
  async rest() {
    while (await this.read());
  }

  /** Ends our side behind all that is sent; the server's goes on. */
  end() {
    this.sent = Promise.all([this.sent, this.writer.close()]);
    this.sent.catch(() => {});
  }

  /** Goes on under TLS. @param {TlsOptions} [options] */
  async startTls(options) {
    if (this.pending) throw new Error(`${this.pending.length} bytes of clear text behind the go-ahead`);
    await this.sent;
    this.release();
    this.socket = this.socket.startTls(options);
    await patiently(this.socket.opened);
    this.reader = this.socket.readable.getReader();
    this.writer = this.socket.writable.getWriter();
  }

  /** Closes the connection, behind all that is sent. */
  async close() {
    if (!this.ended) await this.sent;
    this.release();
    await this.socket.close();
  }

  release() {
    this.reader.releaseLock();
    this.writer.releaseLock();
  }

  /**
   * Reads until something is found in what is pending, and takes all up to its end.
   * @param {string} what
   * @param {(text: string) => number} find how many characters to take; -1: not found yet
   */
  async until(what, find) {
    for (;;) {
      const length = find(this.pending);
      if (length >= 0) {
        const taken = this.pending.slice(0, length);
        this.pending = this.pending.slice(length);
        return taken;
      }
      if (!(await this.read())) throw new Error(`the server ended before ${what}`);
    }
  }

  /** Reads what comes next; false at the end. */
  async read() {
    if (this.ended) return false;
    try {
      const { value, done } = await patiently(this.reader.read());
      this.ended = done;
      if (!done) {
        this.heard.push(value);
        this.pending += characters(value);
      }
    } catch (error) {
      if (!this.lenient || error instanceof Silence) throw error;
      this.ended = true;
    }
    return !this.ended;
  }
}

class Silence extends Error {}

/**
 * @param {string} seen
 * @param {string} wanted
 * @param {string} answer
 */
function check(seen, wanted, answer) {
  if (seen !== wanted) throw new Error(`the server says ${JSON.stringify(answer)}, not ${JSON.stringify(wanted)}`);
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @returns {Promise<T>}
 */
function patiently(promise) {
  /** @type {ReturnType<typeof setTimeout>} */
  let timer;
  const late = new Promise((_, reject) => {
    const silence = new Silence(`nothing came for ${PATIENCE_MS / 1000} s`);
    timer = setTimeout(() => reject(silence), PATIENCE_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** @param {(string | Uint8Array)[]} parts */
function concat(parts) {
  const pieces = parts.map((part) => (typeof part === "string" ? new TextEncoder().encode(part) : part));
  const bytes = new Uint8Array(pieces.reduce((length, piece) => length + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** @param {Uint8Array} bytes */
function characters(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Bytes from hexadecimal digits. @param {string} digits */
function hex(digits) {
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

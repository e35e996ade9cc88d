// SPDX-License-Identifier: Apache-2.0
// The element <agent-chat>: a button on a page of any site, and the chat page in a frame above it. docs/widget.md
(() => {
  const home = new URL('.', document.currentScript.src);
  const STYLE = `
    :host { position: fixed; inset-block-end: 20px; inset-inline-end: 20px; z-index: 2147483000; color-scheme: light dark; }
    :host([hidden]) { display: none; }
    button { inline-size: 56px; block-size: 56px; border: 0; border-radius: 50%; cursor: pointer; display: grid; place-items: center;
             color: var(--agent-chat-text, #fff); background: var(--agent-chat-color, #1f5fbf); box-shadow: 0 4px 16px #0004; }
    button:focus-visible { outline: 3px solid var(--agent-chat-color, #1f5fbf); outline-offset: 3px; }
    svg { inline-size: 26px; block-size: 26px; fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linecap: round;
          stroke-linejoin: round; }
    #panel { position: absolute; inset-block-end: 72px; inset-inline-end: 0; overflow: hidden; border-radius: 12px;
             inline-size: min(400px, 100vw - 40px); block-size: min(640px, 100dvh - 112px); box-shadow: 0 8px 40px #0005; }
    #panel[hidden] { display: none; }
    iframe { inline-size: 100%; block-size: 100%; border: 0; display: block; }`;
  const ICONS = { open: 'M4 5h16v11H10l-4 4v-4H4z', close: 'M6 6l12 12M18 6L6 18' };
  const TEXTS = { en: { open: 'Open the chat', close: 'Close the chat', chat: 'Chat' },
    de: { open: 'Chat öffnen', close: 'Chat schließen', chat: 'Chat' } };

  class AgentChatElement extends HTMLElement {
    static observedAttributes = ['open'];
    #key = null; #button; #panel; #path; #frame = null;

    constructor() {
      super();
      const root = this.attachShadow({ mode: 'open' }), sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      root.adoptedStyleSheets = [sheet];
      const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
      svg.setAttribute('viewBox', '0 0 24 24');
      svg.setAttribute('aria-hidden', 'true');
      this.#path = svg.appendChild(document.createElementNS(svg.namespaceURI, 'path'));
      this.#button = document.createElement('button');
      this.#button.type = 'button';
      this.#button.part = 'button';
      this.#button.setAttribute('aria-controls', 'panel');
      this.#button.append(svg);
      this.#button.addEventListener('click', () => { this.open = !this.open; });
      this.#panel = document.createElement('div');
      this.#panel.id = this.#panel.part = 'panel';
      this.#panel.hidden = true;
      this.#panel.addEventListener('keydown', event => { if (event.key === 'Escape') this.open = false; });
      root.append(this.#panel, this.#button);
    }

    connectedCallback() {
      addEventListener('message', this.#heard);
      this.#show();
    }

    disconnectedCallback() { removeEventListener('message', this.#heard); }

    attributeChangedCallback() { if (this.isConnected) this.#show(); }

    /** Whether the chat is shown. The frame is loaded when it is shown first, and kept. */
    get open() { return this.hasAttribute('open'); }
    set open(open) { this.toggleAttribute('open', Boolean(open)); }

    /** The key or token with which the chat signs in; null: with that of the browser, or none. Never an attribute: it would stay
     * in the document. A new one loads the chat again. */
    get key() { return this.#key; }
    set key(key) {
      this.#key = key ?? null;
      this.#tell();
    }

    #text(name) { return (TEXTS[(this.closest('[lang]')?.lang ?? '').slice(0, 2)] ?? TEXTS.en)[name]; }

    #show() {
      const { open } = this;
      if (open && !this.#frame) this.#load();
      this.#panel.hidden = !open;
      this.#path.setAttribute('d', ICONS[open ? 'close' : 'open']);
      this.#button.setAttribute('aria-label', open ? this.#text('close') : this.getAttribute('label') ?? this.#text('open'));
      this.#button.setAttribute('aria-expanded', String(open));
      if (open) this.#frame.focus();
      else if (this.shadowRoot.activeElement === this.#frame) this.#button.focus();
    }

    #load() {
      const address = new URL('?widget', home);
      for (const name of ['agent', 'api']) if (this.getAttribute(name)) address.searchParams.set(name, this.getAttribute(name));
      this.#frame = document.createElement('iframe');
      this.#frame.title = this.getAttribute('label') ?? this.#text('chat');
      this.#frame.allow = 'clipboard-write';
      this.#frame.src = address.href;
      this.#panel.append(this.#frame);
    }

    #tell() { this.#frame?.contentWindow?.postMessage({ agentchat: 'key', key: this.#key }, home.origin); }

    /** Messages of the page in the frame, and of no other. */
    #heard = ({ source, origin, data }) => {
      if (!this.#frame || source !== this.#frame.contentWindow || origin !== home.origin) return;
      if (data?.agentchat === 'hello') this.#tell();
      if (data?.agentchat === 'close') this.open = false;
      if (data?.agentchat === 'sign-in') this.dispatchEvent(new CustomEvent('agent-chat-sign-in', { bubbles: true, composed: true }));
    };
  }
  customElements.define('agent-chat', AgentChatElement);
})();

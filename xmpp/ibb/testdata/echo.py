"""Sends back what comes over bytestreams, block by block.

usage: echo.py HOST:PORT JID PASSWORD CA-FILE
"""
import asyncio
import sys

import slixmpp


class Echo(slixmpp.ClientXMPP):
    def __init__(self, jid, password, ca_file):
        super().__init__(jid, password)
        self.ca_certs = ca_file
        self.register_plugin("xep_0047")
        self["xep_0047"].auto_accept = True
        self["xep_0047"].max_block_size = 4000
        self.blocks = asyncio.Queue()
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("ibb_stream_data", lambda s: self.blocks.put_nowait((s, s.read())))

    async def start(self, _):
        self.send_presence(ppriority=-1)
        print("ready", flush=True)
        while True:
            stream, block = await self.blocks.get()
            await stream.send(block)


addr, jid, password, ca_file = sys.argv[1:]
host, port = addr.rsplit(":", 1)
Echo(jid, password, ca_file).connect((host, int(port)))
asyncio.get_event_loop().run_forever()

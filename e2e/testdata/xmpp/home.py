"""Two resources of an account: presence, ping, and bytes in-band.

usage: home.py ADDR-FILE

It says what it saw, a line each, and ends with "done".
"""
import asyncio
import json
import sys

import slixmpp

addr = json.load(open(sys.argv[1]))
password = open(addr["password_file"]).read().strip()
host, port = addr["xmpp"].rsplit(":", 1)


class Client(slixmpp.ClientXMPP):
    def __init__(self, resource):
        super().__init__("%s@%s/%s" % (addr["account"], addr["domain"], resource), password)
        self.ca_certs = addr["ca_file"]
        for plugin in ("xep_0030", "xep_0047", "xep_0092", "xep_0199"):
            self.register_plugin(plugin)
        self["xep_0047"].auto_accept = True
        self.ready, self.seen, self.got = asyncio.Event(), {}, b""
        self.add_event_handler("session_start", self.start)
        self.add_event_handler("presence_available", self.here)
        self.add_event_handler("presence_unavailable", self.gone)
        self.add_event_handler("ibb_stream_data", self.data)

    async def start(self, _):
        await self.get_roster()
        self.send_presence(ppriority=-5)
        self.ready.set()

    def here(self, presence):
        self.seen[presence["from"].resource] = presence["priority"]

    def gone(self, presence):
        self.seen[presence["from"].resource] = "gone"

    def data(self, stream):
        self.got += stream.read()

    async def until(self, what):
        for _ in range(100):
            if what():
                return True
            await asyncio.sleep(0.05)
        return False


async def main():
    lamp, phone = Client("OIC/1.0/oic.d.light/1"), Client("phone")
    for client in (lamp, phone):
        client.connect((host, int(port)))
        await asyncio.wait_for(client.ready.wait(), 10)
    there = await phone.until(lambda: phone.seen.get(lamp.boundjid.resource) == -5)
    print("presence", there)
    await phone["xep_0199"].ping(jid=addr["domain"])
    await phone["xep_0199"].ping(jid=lamp.boundjid.full)
    print("ping True")
    for messages in (True, False):
        lamp.got = b""
        stream = await phone["xep_0047"].open_stream(lamp.boundjid.full, use_messages=messages, block_size=4096)
        await stream.sendall(bytes(range(256)) * 80)
        print("bytes", await phone.until(lambda: lamp.got == bytes(range(256)) * 80))
        await stream.close()
    lamp.abort()
    print("gone", await phone.until(lambda: phone.seen.get("OIC/1.0/oic.d.light/1") == "gone"))
    await phone.disconnect()
    print("done")


asyncio.get_event_loop().run_until_complete(main())

"""A worker tells its parent everything, whatever comes while it does."""

import socket

import numpy as np

from pruneguard.serving import frames
from pruneguard.serving.observing import Answer
from pruneguard.serving.pulse import Pulse
from pruneguard.serving.shipping import Shipping


class Meanwhile(np.ndarray):
    """Inputs that, when their size is asked for while they are shipped, see another answer come."""

    comes = None

    @property
    def nbytes(self):
        if self.comes:
            come, self.comes = self.comes, None
            come()
        return super().nbytes


def answer(inputs):
    return Answer("digits", 1, "sha256:1", "r", inputs, np.zeros((1, 3), np.float32), 0.001, 1.0)


def test_what_waits_is_counted_right_though_answers_come_while_others_leave():
    pulse = Pulse.create()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        shipping = Shipping(ours, pulse)
        plain = np.zeros((1, 4), np.float32)
        inputs = plain.view(Meanwhile)
        shipping.answered(answer(inputs))
        assert shipping.waiting_bytes == plain.nbytes

        def come():
            shipping.answered(answer(plain))
            shipping.lost(2)

        inputs.comes = come
        shipping._ship()
        assert shipping.waiting_bytes == 0
        shipping.lost(1)
        shipping._ship()
        shipping._told.release()
        pulse.close()
        ours.shutdown(socket.SHUT_WR)
        heard = b"".join(iter(lambda: theirs.recv(1 << 16), b""))
    told = []
    while heard:
        end = frames.LENGTH_BYTES + frames.length(heard[: frames.LENGTH_BYTES])
        told.append(frames.unpack(heard[frames.LENGTH_BYTES : end]))
        heard = heard[end:]
    assert sum(len(each.answers) for each in told) == 2
    assert sum(each.lost for each in told) == 3

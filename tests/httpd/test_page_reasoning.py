# SPDX-License-Identifier: Apache-2.0
"""What the model thinks, on the chat page: folded above the answer, as it comes and after a reload."""
from model_server import DONE, Gate, answer, calls, chunk, finish, head, reasons, token


def test_reasoning_as_it_comes_and_after_a_reload(page, model):
    gate = Gate()

    def slowly(_request):
        yield head()
        yield chunk({"reasoning_content": "The sum <b>is</b> "})
        yield gate
        yield chunk({"reasoning_content": "easy."})
        yield token("It is 42.")
        yield finish()
        yield DONE
    model.play(reasons("A tool helps.", calls(("calculate", {"expression": "6*7"}))), slowly)
    page.send("what is it?")
    page.wait_text(".reasoning.running summary", "Thinking…")
    page.find(".reasoning summary").first().click()
    page.wait_text(".reasoning-text", "A tool helps. \n\nThe sum <b>is</b>")
    page.check("reasoning-running")
    gate.open()
    page.wait_text(".turn.answer .prose", "It is 42.")
    page.wait_text(".reasoning summary", "Thought for")
    page.until("document.querySelector('.reasoning:not(.running)')")
    page.reload()
    page.wait_text(".reasoning summary", "Thought for")
    assert page.find(".reasoning-text").first().textContent() == ""          # it is read when it is opened
    page.find(".reasoning summary").first().click()
    page.wait_text(".reasoning-text", "A tool helps. \n\nThe sum <b>is</b> easy.")
    page.check("reasoning-open")
    model.play(answer("Bye."))
    page.send("thanks")
    page.wait_text(".turn.answer:last-of-type .prose", "Bye.")
    assert page.evaluate("document.querySelectorAll('.reasoning').length") == 1

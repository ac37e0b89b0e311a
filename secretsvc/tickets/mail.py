"""Mails to followers, through the operator's mail server."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from ..errors import Misconfigured, SecretsvcError
from . import config
from .deadline import Deadline
from .wording import one_line

SECONDS = 20.0
# Of what RFC 5321 allows, what everybody uses: an unquoted local part and a name, all ASCII; no ``?``, which
# would make an encoded word (see ``_message``).
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=^_`{|}~.-]{1,64}@[A-Za-z0-9][A-Za-z0-9.-]{0,252}")
_MARKER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,63}")


class MailError(SecretsvcError):
    """A mail was not taken.  The message names no address, and nothing the server said."""

    kind = "mail-failed"


class MailUnavailable(MailError):
    """Not now, or not known whether: try again, with the same Message-ID."""

    kind = "mail-unavailable"


class MailRefused(MailError):
    """Never, for this recipient."""

    kind = "mail-refused"


class Mailer:
    """Hands mails to one server.

    Args:
        mail: its settings.
        ca_file: certificate authorities to trust instead of the system's.
        seconds: for one mail, however slowly the server answers.

    Raises:
        Misconfigured: the password cannot be read, or would travel in the clear.
    """

    def __init__(self, mail: config.Mail, *, ca_file: str | None = None, seconds: float = SECONDS) -> None:
        if mail.username and not mail.starttls:
            raise Misconfigured("mail.starttls: must be on where a username is set: it protects the password.")
        self._mail = mail
        self._password = config.secret(mail.password_file, "mail.password_file") if mail.username else ""
        self._tls = ssl.create_default_context(cafile=ca_file)
        self._seconds = seconds

    def send(self, to: str, subject: str, text: str, message_id: str) -> None:
        """Hand over one mail; returns once the server has taken it.

        Args:
            to: one e-mail address.
            subject: becomes one line, whatever it holds.
            text: the body.
            message_id: a marker of ours (letters, digits, dots, dashes), the same on every try, by which a
                mailbox can tell a repeat.

        Raises:
            MailRefused: not an address, or the server refuses it for good.
            MailUnavailable: anything else: no server, no trustworthy TLS, no login, try later.
            ValueError: not a marker.
        """
        if not _ADDRESS.fullmatch(to):
            raise MailRefused("This is not an e-mail address that can be written to.")
        message = self._message(to, subject, text, message_id)
        try:
            with Deadline(self._seconds) as deadline:
                self._hand_over(message, deadline)
        except smtplib.SMTPRecipientsRefused as error:
            [(code, _)] = error.recipients.values()
            raise _failure("recipient", code) from None
        except smtplib.SMTPDataError as error:
            raise _failure("message", error.smtp_code) from None
        except (smtplib.SMTPException, OSError, UnicodeError, ValueError) as error:
            raise MailUnavailable(f"The mail server did not take it: {type(error).__name__}.") from None

    def _message(self, to: str, subject: str, text: str, message_id: str) -> EmailMessage:
        if not _MARKER.fullmatch(message_id):
            raise ValueError("a marker has 1-64 letters, digits, dots, dashes")
        message = EmailMessage(policy=SMTP)
        message["From"] = self._mail.sender
        message["To"] = to
        # Python decodes an encoded word (RFC 2047) in what it is given and writes out the line ends inside: a
        # subject with ``=?utf-8?q?=0D=0ABcc...?=`` would add a header.
        message["Subject"] = one_line(subject).replace("=?", "= ?")
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{message_id}@{self._domain}>"
        # RFC 3834: no out-of-office reply shall come back.
        message["Auto-Submitted"] = "auto-generated"
        # A lone half of a character has no bytes.
        message.set_content(text.encode("utf-8", "replace").decode(), cte="quoted-printable")
        return message

    @property
    def _domain(self) -> str:
        return self._mail.sender.rpartition("@")[2]

    def _hand_over(self, message: EmailMessage, deadline: Deadline) -> None:
        smtp = _Client(deadline, self._domain)
        try:
            smtp.greet(self._mail.host, self._mail.port)
            if self._mail.starttls:
                smtp.starttls(context=self._tls)
            if self._mail.username:
                smtp.login(self._mail.username, self._password)
            # Not send_message: that writes ">From" for a line that begins with "From".
            smtp.sendmail(self._mail.sender, [message["To"]], message.as_bytes())
            # Taken; what becomes of the farewell does not matter.
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()
        finally:
            smtp.close()


class _Client(smtplib.SMTP):
    """Python's client, under one deadline from its first look-up to its farewell."""

    def __init__(self, deadline: Deadline, name: str) -> None:
        # Its own name in EHLO is given, so that none is looked up.
        super().__init__(local_hostname=name)
        self._deadline = deadline

    def greet(self, host: str, port: int) -> None:
        """Connect and say who we are."""
        self._host = host  # what STARTTLS checks the certificate against
        code, _ = self.connect(host, port)
        if code != 220:
            raise smtplib.SMTPConnectError(code, "")
        self.ehlo_or_helo_if_needed()

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        # smtplib's place for this (SMTP_SSL uses it); the greeting is read at once after it.
        return self._deadline.connect(self._deadline.resolve(host, port))


def _failure(what: str, code: int) -> MailError:
    kind = MailRefused if 500 <= code < 600 else MailUnavailable
    return kind(f"The mail server refuses this {what}: code {code}.")

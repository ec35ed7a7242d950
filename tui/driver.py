"""The terminal's driver, which also goes on where it was stopped by what it cannot hear."""

from textual.drivers.linux_driver import LinuxDriver


class ViewerDriver(LinuxDriver):
    """Textual's, which takes every SIGCONT for the end of a suspension of its own.

    After a SIGSTOP that was not, it would read the keys with two threads, hang when it is left, and leave the terminal
    as the application has it. Here the terminal is given back first, and then taken anew: a shell may have changed it.
    """

    def _sigcont_application(self, *told: object) -> None:
        reads = self._key_thread is not None and self._key_thread.is_alive()
        if self._auto_restart and reads:
            self.suspend_application_mode()
            self._must_signal_resume = True
        if self._must_signal_resume:
            super()._sigcont_application(*told)

"""Names on the command line: those of models, which become topic levels and file names."""

from __future__ import annotations

from typing import Any

import click

from drupelet_shared.errors import InvalidValueError
from drupelet_shared.names import check_name


class ModelName(click.ParamType[str]):
    """The name of a model."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 - the signature is click's
        """Return the name.

        Args:
            value: What was typed.
            param: The parameter, for the message.
            ctx: The context, for the message.

        Raises:
            click.BadParameter: It has another form.
        """
        try:
            return check_name(str(value), what="model")
        except InvalidValueError as error:
            self.fail(str(error), param, ctx)

"""Every error that conch raises on purpose, in one tree. Imports nothing.

ConchError                        conch-error
├── UsageError                    usage                 an option or argument that makes no sense
├── NotFoundError                 not-found             a path, a model or a hub id that is not there
├── HubError                      hub                   the hub did not answer, or refused
├── NotSupportedError             not-supported         known, and not handled
│   ├── UnknownArchitectureError  unknown-architecture
│   ├── UnhandledConfigError      unhandled-config      a known config key with a value not handled
│   ├── UnknownTokenizerError     unknown-tokenizer
│   ├── UnknownPreTokenizerError  unknown-pre-tokenizer
│   ├── UnknownTypeError          unknown-type          a quantisation or dtype that is not known
│   ├── NoKernelError             no-kernel             no library here quantises to that type
│   ├── UnsafePickleError         unsafe-pickle         a `.bin` that only torch could read safely
│   └── QuantizedBaseError        quantized-base        bitsandbytes, GPTQ, AWQ: not a base to merge on
├── BadFileError                  bad-file              a file that is not what it says
│   ├── TruncatedFileError        truncated-file
│   ├── BadSafetensorsError       bad-safetensors
│   ├── BadGGUFError              bad-gguf
│   ├── BadConfigError            bad-config            config.json, adapter_config.json, tokenizer files …
│   ├── BadModelfileError         bad-modelfile
│   └── BadTemplateError          bad-template          a chat template, Jinja or Go, that does not parse or run
│       └── TemplateRefusedError  template-refused      the template's own raise_exception
├── TensorError                   tensor                tensors and plan do not agree
│   ├── MissingTensorError        missing-tensor        an output without a source
│   ├── UnconsumedTensorError     unconsumed-tensor     a source that nothing consumes
│   ├── ShapeError                shape                 a tensor of another shape than it must have
│   └── NonFiniteError            non-finite            weights that are, or would become, NaN or infinite
├── AdapterError                  adapter
│   ├── AdapterMismatchError      adapter-mismatch      trained for another base
│   └── AdapterKindError          adapter-kind          PiSSA, aLoRA …: W + BA would be silently wrong
├── OutputError                   output
│   ├── OutputExistsError         output-exists
│   ├── NoSpaceError              no-space
│   └── NotWritableError          not-writable
├── CheckError                    check-failed          the written file does not do what it must
├── TemplateMismatchError         template-mismatch     no TEMPLATE renders what the model was trained on
├── RuntimeFailedError            runtime-failed        a runtime could not load or answer
│   ├── RuntimeBusyError          runtime-busy          it has no room now; `retry_after` in seconds
│   ├── RuntimeUnreachableError   runtime-unreachable   nobody answers, nothing was begun: another may be asked
│   └── RuntimeRefusedError       runtime-refused       it refused the request: `status`, and `kind` in OpenAI's words
└── OllamaError                   ollama
    ├── OllamaUnreachableError    ollama-unreachable
    ├── OllamaRefusedError        ollama-refused        it answered with an error
    ├── ModelNameError            model-name            not a name that Ollama takes
    └── RegisterMismatchError     register-mismatch     what Ollama shows is not what was meant
"""

from __future__ import annotations

from typing import ClassVar


class ConchError(Exception):
    """Root of the tree. `code` is stable; `message` says what happened to what; `hint` says what to do."""

    code: ClassVar[str] = "conch-error"

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ConchError):
    code = "usage"


class NotFoundError(ConchError):
    code = "not-found"


class HubError(ConchError):
    code = "hub"


class NotSupportedError(ConchError):
    code = "not-supported"


class UnknownArchitectureError(NotSupportedError):
    code = "unknown-architecture"


class UnhandledConfigError(NotSupportedError):
    code = "unhandled-config"


class UnknownTokenizerError(NotSupportedError):
    code = "unknown-tokenizer"


class UnknownPreTokenizerError(NotSupportedError):
    code = "unknown-pre-tokenizer"


class UnknownTypeError(NotSupportedError):
    code = "unknown-type"


class NoKernelError(NotSupportedError):
    code = "no-kernel"


class UnsafePickleError(NotSupportedError):
    code = "unsafe-pickle"


class QuantizedBaseError(NotSupportedError):
    code = "quantized-base"


class BadFileError(ConchError):
    code = "bad-file"


class TruncatedFileError(BadFileError):
    code = "truncated-file"


class BadSafetensorsError(BadFileError):
    code = "bad-safetensors"


class BadGGUFError(BadFileError):
    code = "bad-gguf"


class BadConfigError(BadFileError):
    code = "bad-config"


class BadModelfileError(BadFileError):
    code = "bad-modelfile"


class BadTemplateError(BadFileError):
    code = "bad-template"


class TemplateRefusedError(BadTemplateError):
    code = "template-refused"


class TensorError(ConchError):
    code = "tensor"


class MissingTensorError(TensorError):
    code = "missing-tensor"


class UnconsumedTensorError(TensorError):
    code = "unconsumed-tensor"


class ShapeError(TensorError):
    code = "shape"


class NonFiniteError(TensorError):
    code = "non-finite"


class AdapterError(ConchError):
    code = "adapter"


class AdapterMismatchError(AdapterError):
    code = "adapter-mismatch"


class AdapterKindError(AdapterError):
    code = "adapter-kind"


class OutputError(ConchError):
    code = "output"


class OutputExistsError(OutputError):
    code = "output-exists"


class NoSpaceError(OutputError):
    code = "no-space"


class NotWritableError(OutputError):
    code = "not-writable"


class CheckError(ConchError):
    code = "check-failed"


class TemplateMismatchError(ConchError):
    code = "template-mismatch"


class RuntimeFailedError(ConchError):
    code = "runtime-failed"


class RuntimeBusyError(RuntimeFailedError):
    code = "runtime-busy"

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class RuntimeUnreachableError(RuntimeFailedError):
    code = "runtime-unreachable"


class RuntimeRefusedError(RuntimeFailedError):
    code = "runtime-refused"

    def __init__(
        self, message: str, *, hint: str | None = None, status: int = 400, kind: str = "invalid_request_error"
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.kind = kind


class OllamaError(ConchError):
    code = "ollama"


class OllamaUnreachableError(OllamaError):
    code = "ollama-unreachable"


class OllamaRefusedError(OllamaError):
    code = "ollama-refused"


class ModelNameError(OllamaError):
    code = "model-name"


class RegisterMismatchError(OllamaError):
    code = "register-mismatch"

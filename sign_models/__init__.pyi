from sign_models.pipeline.api import Segment as Segment
from sign_models.pipeline.api import Translator as Translator
from sign_models.pipeline.api import load as load
from sign_models.pipeline.api import read as read

__version__: str

from sign_models.pipeline.api import Segment as Segment
from sign_models.pipeline.api import Translator as Translator
from sign_models.pipeline.api import load as load
from sign_models.pipeline.api import read as read
from sign_models.pipeline.api import train as train

__version__: str

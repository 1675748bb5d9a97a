"""The peer of tests/benches/recognition.rs: the same models in Python with onnxruntime and OpenCV.

Usage: recognition.py MODELS FOLDER [--prelu-rewritten]. The folder holds `frames/*.jpg`, and as
little-endian 32-bit floats `roster.f32`, `many.f32` and `probes.f32`, 128 numbers a template.

Each line of the standard input is a command; the answer is a line of JSON. `look` looks at each frame
once. `search` searches the many templates for each probe. All runs in one thread. All is prepared
before the first command: the weights are unpacked, the networks are optimised for this machine, and
the faster way to decode is chosen by trying.
"""

import os

for variable in "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS":
    os.environ[variable] = "1"

import gc
import json
import pathlib
import sys
import time

import cv2
import faiss
import numpy as np
import onnx
import onnxruntime

WIDTH, HEIGHT = 640, 384
STRIDES = 8, 16, 32
SCORE, OVERLAP = 0.6, 0.3
# Minimum width of a face, in pixels, from which its 112 x 112 pixels lose nothing by the scale.
FACE_PX = 140
# Five landmarks in the picture that SFace sees, as complex numbers.
PLACES = np.array([38.2946 + 51.6963j, 73.5318 + 51.5014j, 56.0252 + 71.7366j, 41.5493 + 92.3655j, 70.7299 + 92.2041j])
PLACES_MEAN = PLACES.mean()
PLACES_AROUND = PLACES - PLACES_MEAN
STAGES = "decode", "detect", "near_decode", "align", "embed", "match"


def unpacked(path):
    """Returns the network with each weight as one tensor of floats, as OpenCV and gatehouse unpack it."""
    model = onnx.load(path)
    graph = model.graph
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type not in ("DequantizeLinear", "Reshape") or node.input[0] not in known:
            nodes.append(node)
            continue
        values = [known[name] for name in node.input]
        if node.op_type == "Reshape":
            known[node.output[0]] = values[0].reshape(values[1])
            continue
        numbers, scale, zero = values[0].astype(np.float32), values[1], values[2].astype(np.float32)
        has = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        axis = has.get("axis", 1)
        if has.get("block_size", 0):
            index = np.arange(numbers.shape[axis]) // has["block_size"]
            scale, zero = scale.take(index, axis), zero.take(index, axis)
        elif scale.size > 1:
            shape = [1] * numbers.ndim
            shape[axis] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        known[node.output[0]] = ((numbers - zero) * scale).astype(np.float32)
    used = {name for node in nodes for name in node.input}
    first = onnx.ValueInfoProto()
    first.CopyFrom(graph.input[0])
    del graph.node[:], graph.initializer[:], graph.input[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(onnx.numpy_helper.from_array(known[name], name) for name in known if name in used)
    graph.input.append(first)
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    return model


def prelu_rewritten(model):
    """Writes PReLU as a x + (1 - a) Max(x, 0), as gatehouse does: onnxruntime has no fast PReLU."""
    graph = model.graph
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type != "PRelu":
            nodes.append(node)
            continue
        (x, slopes), y = node.input, node.output[0]
        slope = known[slopes].reshape(1, -1, 1, 1)
        graph.initializer.append(onnx.numpy_helper.from_array(slope, y + ".a"))
        graph.initializer.append(onnx.numpy_helper.from_array(1 - slope, y + ".1-a"))
        make = onnx.helper.make_node
        nodes += [
            make("Relu", [x], [y + ".relu"]),
            make("Mul", [x, y + ".a"], [y + ".ax"]),
            make("Mul", [y + ".relu", y + ".1-a"], [y + ".rest"]),
            make("Add", [y + ".ax", y + ".rest"], [y]),
        ]
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Grid:
    """The cells of YuNet's three grids: their strides, columns and rows."""

    def __init__(self):
        stride, column, row = [], [], []
        for s in STRIDES:
            rows, columns = np.mgrid[: HEIGHT // s, : WIDTH // s]
            stride.append(np.full(rows.size, s))
            column.append(columns.ravel())
            row.append(rows.ravel())
        self.stride, self.column, self.row = (np.concatenate(x).astype(np.float32) for x in (stride, column, row))
        self.sizes = [0, *np.cumsum([len(x) for x in stride])]


class Peer:
    def __init__(self, models, folder, rewritten):
        detector = unpacked(models / "face_detection_yunet_2023mar_int8bq.onnx")
        shape = detector.graph.input[0].type.tensor_type.shape.dim
        shape[2].dim_value, shape[3].dim_value = HEIGHT, WIDTH
        embedder = unpacked(models / "face_recognition_sface_2021dec_int8bq.onnx")
        if rewritten:
            embedder = prelu_rewritten(embedder)
        self.detector, self.embedder = session(detector), session(embedder)
        self.outputs = [output.name for output in self.detector.get_outputs()]
        self.grid = Grid()
        self.input = np.zeros((1, 3, HEIGHT, WIDTH), np.float32)
        self.planes = np.zeros((1, 3, 112, 112), np.float32)
        self.roster = self.templates(folder / "roster.f32")
        self.frames = [np.fromfile(path, np.uint8) for path in sorted((folder / "frames").glob("*.jpg"))]
        self.halves = False
        self.choose()
        self.index = faiss.IndexFlatIP(128)
        self.index.add(self.templates(folder / "many.f32"))
        self.probes = self.templates(folder / "probes.f32")

    @staticmethod
    def templates(path):
        return np.fromfile(path, "<f4").reshape(-1, 128)

    def choose(self):
        """Chooses how to decode: the whole frame once, or half of its pixels first."""
        took, found = [], []
        for self.halves in False, True:
            rounds = [[self.look(frame) for frame in self.frames[:64]] for _ in range(2)]
            took.append(min(sum(look["cpu_ns"] for look in looks) for looks in rounds))
            found.append(sum(bool(look["boxes"]) for look in rounds[0]))
        self.halves = bool(took[1] < took[0] and found[1] >= found[0])

    def look_at_all(self):
        return [self.look(frame) for frame in self.frames]

    def look(self, jpeg):
        cpu, begun = time.thread_time_ns(), time.perf_counter_ns()
        if self.halves:
            picture = None
            small = cv2.imdecode(jpeg, cv2.IMREAD_REDUCED_COLOR_2)
            now = time.perf_counter_ns()
        else:
            picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
            now = time.perf_counter_ns()
            small = cv2.resize(picture, (WIDTH, WIDTH * picture.shape[0] // picture.shape[1]), interpolation=cv2.INTER_AREA)
        decoded = now
        boxes, landmarks = self.detect(small)
        detected = time.perf_counter_ns()
        times, best, score = [decoded - begun, detected - decoded, 0, 0, 0, 0], None, 0.0
        if len(boxes):
            widest = int(boxes[:, 2].argmax())
            face, scale = landmarks[widest], 1.0
            if picture is None and boxes[widest, 2] * 2 < FACE_PX:
                picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
            if picture is None:
                picture = small
            else:
                scale = picture.shape[1] / small.shape[1]
            near = time.perf_counter_ns()
            self.align(picture, face, scale)
            aligned = time.perf_counter_ns()
            template = self.embedder.run(None, {"data": self.planes})[0][0]
            embedded = time.perf_counter_ns()
            cosines = self.roster @ template
            best = int(cosines.argmax())
            score = float(cosines[best]) / float(np.sqrt(template @ template))
            times[2:] = near - detected, aligned - near, embedded - aligned, time.perf_counter_ns() - embedded
        ended = time.perf_counter_ns()
        spent = time.thread_time_ns() - cpu
        boxes = (boxes * 2).tolist()
        return {"wall_ns": ended - begun, "cpu_ns": spent, "stages_ns": times, "boxes": boxes, "best": best, "score": score}

    def detect(self, small):
        """Returns the boxes (left, top, width, height) and landmarks, in pixels of the small picture."""
        rows = small.shape[0]
        planes = self.input[0]
        cv2.split(small.astype(np.float32), [planes[0, :rows], planes[1, :rows], planes[2, :rows]])
        out = self.detector.run(self.outputs, {"input": self.input})
        grid = self.grid
        scores = np.concatenate([(out[s] * out[3 + s]).ravel() for s in range(3)])
        cells = np.flatnonzero(scores >= SCORE * SCORE)
        if not len(cells):
            return np.empty((0, 4), np.float32), None
        cells = cells[scores[cells].argsort()[::-1]]
        of = np.searchsorted(grid.sizes, cells, "right") - 1
        within = [(s, cell - grid.sizes[s]) for s, cell in zip(of, cells)]
        box = np.array([out[6 + s][0, cell] for s, cell in within])
        points = np.array([out[9 + s][0, cell] for s, cell in within])
        stride = grid.stride[cells][:, None]
        corner = np.stack([grid.column[cells], grid.row[cells]], 1)
        size = np.exp(box[:, 2:]) * stride
        middle = (corner + box[:, :2]) * stride
        boxes = np.hstack([middle - size / 2, size])
        kept = []
        for n, (x, y, w, h) in enumerate(boxes):
            for m in kept:
                left, top, wide, high = boxes[m]
                across = max(0.0, min(x + w, left + wide) - max(x, left))
                common = across * max(0.0, min(y + h, top + high) - max(y, top))
                if common > OVERLAP * (w * h + wide * high - common):
                    break
            else:
                kept.append(n)
        points = (points[kept].reshape(-1, 5, 2) + corner[kept][:, None]) * stride[kept][:, None]
        return boxes[kept], points

    def align(self, picture, face, scale):
        """Cuts the face out, upright, by the similarity transform that fits best (least squares)."""
        points = (face[:, 0] + 1j * face[:, 1]) * scale
        mean = points.mean()
        around = points - mean
        turn = np.vdot(around, PLACES_AROUND) / np.vdot(around, around).real
        shift = PLACES_MEAN - turn * mean
        matrix = np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])
        upright = cv2.warpAffine(picture, matrix, (112, 112), flags=cv2.INTER_LINEAR)
        planes = self.planes[0]
        cv2.split(upright.astype(np.float32), [planes[2], planes[1], planes[0]])

    def search(self):
        cpu, begun = time.thread_time_ns(), time.perf_counter_ns()
        best = [int(self.index.search(probe, 1)[1][0, 0]) for probe in self.probes[:, None]]
        wall = time.perf_counter_ns() - begun
        return {"wall_ns": wall, "cpu_ns": time.thread_time_ns() - cpu, "best": best}


def main():
    cv2.setNumThreads(1)
    faiss.omp_set_num_threads(1)
    models, folder = map(pathlib.Path, sys.argv[1:3])
    peer = Peer(models, folder, "--prelu-rewritten" in sys.argv)
    gc.freeze()
    gc.disable()
    versions = f"onnxruntime {onnxruntime.__version__}, OpenCV {cv2.__version__}, FAISS {faiss.__version__}"
    ways = "decodes half of the pixels first" if peer.halves else "decodes the whole frame"
    print(json.dumps(f"{versions}; {ways}"), flush=True)
    for command in sys.stdin:
        answer = {"look": peer.look_at_all, "search": peer.search}[command.strip()]()
        print(json.dumps(answer), flush=True)


main()

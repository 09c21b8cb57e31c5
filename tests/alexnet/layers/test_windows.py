"""Sizes that sliding windows leave and need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from reference import pad_amounts
from strategies import paddings

from alexnet.checks import check_padding
from alexnet.layers.windows import Window, smallest_input


def sides(least=1, most=5):
    return st.tuples(st.integers(least, most), st.integers(least, most))


def any_padding():
    """What convolutions may have, and "ceil" of pools."""
    return paddings() | st.just("ceil")


@st.composite
def window_lists(draw):
    window = st.builds(Window, sides(), sides(), any_padding().map(pixels))
    return draw(st.lists(window, max_size=4))


def pixels(padding):
    return padding if padding == "ceil" else check_padding("padding", padding)


def places(length, size, stride, padding, axis):
    """Count the places that a window takes, one by one."""
    before, after = pad_amounts(length, size, stride, padding, axis)
    return len(range(0, before + length + after - size + 1, stride))


@given(sides(), sides(), any_padding(), sides(1, 20))
def test_output_size_counts_the_places_of_the_window(size, strides, padding, image):
    """A window's output has one pixel for each place that it takes."""
    left = Window(size, strides, pixels(padding)).output_size(image)
    for axis in (0, 1):
        expected = places(image[axis], size[axis], strides[axis], padding, axis)
        assert max(0, left[axis]) == expected


@given(sides(), sides(), sides(1, 20))
def test_ceil_windows_stick_out_as_far_as_the_last_does(size, strides, image):
    """Pixels after an image are those of its last window that are not in it."""
    window = Window(size, strides, "ceil")
    after = window.pixels_after(image)
    for axis in (0, 1):
        expected = pad_amounts(image[axis], size[axis], strides[axis], "ceil", axis)
        assert (0, after[axis]) == expected


@given(window_lists())
def test_smallest_input_is_enough_and_one_pixel_less_is_not(windows):
    """Each window leaves a pixel of the smallest input, and not of any smaller."""

    def least_left(size, axis):
        sizes = [size[axis]]
        for window in windows:
            size = window.output_size(size)
            sizes.append(size[axis])
        return min(sizes)

    height, width = smallest_input(windows)
    assert least_left((height, width), 0) >= 1
    assert least_left((height, width), 1) >= 1
    assert least_left((height - 1, width), 0) < 1
    assert least_left((height, width - 1), 1) < 1

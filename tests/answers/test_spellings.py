"""Answers in many spellings, through a box, tags and a sentence: one verdict wherever they stand."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from math_verify import parse, verify

from corrpo.answers.checks.math import equal_as_math
from corrpo.answers.reading import final_answer
from corrpo.answers.verdict import judge

FORMS = (r"so \boxed{%s}", "<answer>%s</answer>", "The answer is %s")

# An answer, and a right answer that it is

RIGHT = r"""
\frac34 ;; 3/4
\frac 3 4 ;; 0.75
-\frac12 ;; -1/2
\frac{1}2 ;; \frac12
3\sqrt2 ;; 3\sqrt{2}
\sqrt{12} ;; 2\sqrt3
√12 ;; 2√3
\sqrt[3]{8} ;; 2
2\frac34 ;; 11/4
25\% ;; 0.25
25\% ;; \frac14
25 ;; 25\%
50\% ;; 50
x >= 2 ;; x \ge 2
= 42 ;; 42
\text{42} ;; 42
\text{It is } 5 ;; 5
She has 13 apples left. ;; 13
The solutions are 2 and 5 ;; 2, 5
48 \mathrm{~m} ;; 48
3 2/5 ;; 3.4
5 000 ;; 5{,}000
1,000,000 ;; 10^6
$1,234.50 ;; 1234.5
\$18.90 ;; 18.9
sqrt(2)/2 ;; \frac{\sqrt{2}}{2}
1/sqrt(2) ;; \frac{\sqrt{2}}{2}
4.5e33 ;; 4.5\times10^{33}
1.6e-19 ;; 1.6 \times 10^{-19}
1.6 × 10⁻¹⁹ ;; 1.6e-19
3 \times 10^8 ;; 300000000
10^{-12} ;; 1\times10^{-12}
7-3i ;; 7 - 3\mathrm{i}
-3i+7 ;; 7-3i
90^\circ ;; 90
90^{\circ} ;; 90°
\frac{\pi}{4} ;; \frac\pi4
0.\overline{3} ;; 1/3
0.1\overline{6} ;; \frac16
0.333333 ;; \frac13
1.41421356 ;; \sqrt2
3.14159265 ;; \pi
(-\infty,3] ;; x \le 3
x \leq 3 ;; (-\infty,3]
[1,5) ;; 1 \le x < 5
-2<x<2 ;; (-2,2)
(-\infty,1)\cup(3,\infty) ;; x<1 \text{ or } x>3
x<1 or x>3 ;; (-\infty,1) \cup (3,\infty)
3<x ;; x>3
x \in (3,\infty) ;; (3,\infty)
\varnothing ;; \emptyset
\{\} ;; \emptyset
\log_28 ;; 3
\binom 5 2 ;; 10
\binom{5}{2} ;; 10
\text{Maria} ;; Maria
ellipse ;; \text{ellipse}
an ellipse ;; \text{ellipse}
B ;; \text{(B)}
(B) ;; B
\text{B} ;; (B)
\textbf{(C)} ;; C
(C) 5 apples ;; C
x=5 ;; 5
5 ;; x=5
5. ;; 5
**42** ;; 42
$$42$$ ;; 42
\[42\] ;; 42
\(42\) ;; 42
6\text{ cm} ;; 6
6 cm ;; 6\text{ cm}
6 cm^2 ;; 6 \text{ cm}^2
5 m ;; 5\text{ m}
60 miles per hour ;; 60
9.8 m/s^2 ;; 9.8
\{2,1\} ;; \{1,2\}
1, 2 ;; 2,1
1 and 2 ;; 1,2
1 \text{ and } 2 ;; \{1,2\}
\pm 3 ;; 3,-3
5\pm\sqrt7 ;; 5+\sqrt{7}, 5-\sqrt{7}
x=1 or x=2 ;; \{1,2\}
x^2+2x+1 ;; (x+1)^2
(x+1)^{2} ;; x^2+2x+1
y=2x+1 ;; 2x-y+1=0
y = 2x + 1 ;; 2x+1
f(x)=x^2 ;; x^2
e^{i\pi} ;; -1
\begin{pmatrix}1&2\\3&4\end{pmatrix} ;; \begin{bmatrix}1&2\\3&4\end{bmatrix}
(1,2,3) ;; (1, 2, 3)
\left(\frac12,3\right) ;; (0.5,3)
\left( 3, \frac{\pi}{2} \right) ;; (3,\pi/2)
2\pi r ;; 2 \pi r
\frac{3}{4}\pi ;; \frac{3\pi}{4}
2^{10} ;; 1024
10! ;; 3628800
n(n+1)/2 ;; \frac{n(n+1)}{2}
\frac{n^2+n}{2} ;; \frac{n(n+1)}{2}
4210_5 ;; 4210_{5}
101_2 ;; (101)_{2}
2:30 ;; 2\text{:}30
\ln 2 ;; ln(2)
\cos x ;; cos(x)
\sin^2 x ;; 1-\cos^2 x
\tan^{-1}(1) ;; \frac\pi4
|x| ;; |x|
3:4 ;; 3/4
\mathbb{R} ;; (-\infty,\infty)
x\ne 3 ;; (-\infty,3)\cup(3,\infty)
\mathbb{R}\setminus\{3\} ;; x \neq 3
\frac{2}{3}x^3 ;; \frac{2x^3}{3}
12 \text{ inches} ;; 12
11,\! 111,\! 111,\! 100 ;; 11111111100
10\sqrt{3}~\text{cm} ;; 10\sqrt3
\text{June 20} ;; \text{June 20}
5.4 \text{ cents} ;; 5.4
\dfrac{9}{7} ;; \frac 97
p - q ;; p-q
-\frac{35}{9} ;; \frac{-35}{9}
1 \frac{4}{5} ;; \frac{9}{5}
\left[-2, 7\right] ;; [-2,7]
2k\pi ;; 2\pi k
k = 7, 8 ;; 7,8
\frac{43}{2} ;; 21.5
x^3+3x-6 ;; x^3 + 3x - 6
6 - 5i ;; 6-5i
3.0 \times 10^{8} ;; 3e8
+5 ;; 5
9.0 \cdot 10^{11} ;; 9.0e11
1±√19 ;; 1 \pm \sqrt{19}
-1/2 ;; -0.5
2^{n+1} ;; 2 \cdot 2^n
\overline{AB} ;; \overline{AB}
0.5 ;; .5
.5 ;; 0.50
\left\{1,2\right\} ;; {1,2}
\text{yes} ;; Yes
Saturday ;; \text{Saturday}
14\% ;; 14 \text{ percent}
\$5 ;; 5 dollars
5 dollars ;; 5
$5$ ;; 5
six ;; six
\frac{\sqrt{3}}{3} ;; \frac{1}{\sqrt{3}}
x \mapsto 2x ;; x \mapsto 2x
\frac{1}{2}\log_2 7 ;; \log_4 7
30^{\circ} ;; 30
(A) ;; \text{A}
3x^2 ;; 3 x^{2}
1000 ;; 1\,000
- 3 ;; -3
−3 ;; -3
\sqrt{x^2+1} ;; (x^2+1)^{1/2}
x^{1/2} ;; \sqrt{x}
2 \cdot 3 ;; 6
2 × 3 ;; 6
2*3 ;; 6
98+93 ;; 191
98+93=191 ;; 191
16\text{ units}^2 ;; 16
\mathrm{i} ;; i
\boxed{7} ;; 7
"""

# An answer, and a right answer that it is not

WRONG = r"""
12 15 ;; 27
\sqrt{2}+10^{-40} ;; \sqrt{2}
\sqrt{2}+10^{-5000} ;; \sqrt{2}
It never is 5 ;; 5
2 7 ;; 9
0.0 ;; 1.6e-19
3e-7 ;; 4e-7
0.33 ;; 1/3
0.333 ;; 1/3
3.14 ;; \pi
1.414 ;; \sqrt2
\frac{1}{300!} ;; \frac{1}{301!}
4132_6 ;; 4132_5
4132 ;; 4132_5
555 ;; 4210_5
1000001 ;; 1000000
1000000.4 ;; 1000000
12345678 ;; 12345679
3 or 5 ;; 5
3, 5 ;; 5
5 ;; 3,5
\{3,5\} ;; 5
\{3,5\} ;; \{3,5,7\}
(2,1) ;; (1,2)
[1,2] ;; (1,2)
x>3 ;; [3,\infty)
x>3 ;; x<3
x \ge 3 ;; (3,\infty)
y=2x+1 ;; y=2x-1
x=5 ;; y=5
not 5 ;; 5
less than 5 ;; 5
5 or 6 ;; 5
5 million ;; 5
between 3 and 5 ;; 3,5
5 cm ;; 5 m
5 km ;; 5 m
Maria ;; \text{Mario}
circle ;; ellipse
A ;; B
(A) or (B) ;; A
A, B ;; A
A ;; A, B
a ;; B
0.5\% ;; 0.5
25\% ;; 0.5
1/2x ;; 2/x
x^2 ;; x^3
x ;; y
i ;; 1
\frac{1}{2} ;; \frac{1}{3}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ;; \begin{pmatrix}1&2\\3&5\end{pmatrix}
1, 2 ;; 1,2,3
(1,2) ;; (1,2,3)
\pm3 ;; 3
\sqrt{x^2} ;; x
2^{10} ;; 1023
1/3 ;; 0.33
17 = 191 ;; 191
? ;; 5
5 ;; 6
10^{10} ;; 10^{11}
0 ;; 10^{-400}
10^{-400} ;; 10^{-401}
2:30 ;; 1/15
2:30 ;; 2:31
1000 ;; 1,00
seventeen ;; 17
\text{(A)} ;; \text{(B)}
x ;; \text{x axis}
no solution ;; 0
infinite ;; \infty
123 ;; 1 23
3\frac12 ;; \frac32
2\frac34 ;; \frac{3}{2}
\log 8 ;; \log_2 8
f'(x) ;; f(x)
x+y ;; x-y
5! ;; 60
7, 8, 9 ;; 7,8
\infty ;; -\infty
1/0 ;; 2/0
0/0 ;; 0
1+i ;; 1-i
\max(1,2) ;; 1
"""


def pairs(table):
    return [tuple(part.strip() for part in line.split(";;")) for line in table.strip().splitlines()]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("table", "is_right"), [(RIGHT, True), (WRONG, False)])
def test_spellings(form, table, is_right):
    rows = pairs(table)
    replies = judge([form % answer for answer, _ in rows], [gold for _, gold in rows])
    differ = [
        (*row, reply)
        for row, reply in zip(rows, replies, strict=True)
        if (reply.verdict == "right") != is_right
    ]
    assert differ == []


def test_what_is_right_votes_together_and_what_is_wrong_apart():
    assert all(equal_as_math(pairs(RIGHT)))
    assert not any(equal_as_math(pairs(WRONG)))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{3} and \boxed{5}", "3, 5"),
        (r"$\boxed{3}$, $\boxed{5}$ or $\boxed{7}$", "3, 5, 7"),
        (r"$x=\boxed{1}$ or $x = \boxed{2}$", "1, 2"),
        (r"\boxed{5}, that is \boxed{5}", "5"),
        (r"\boxed{5}, \boxed{5}", "5"),
        (r"\boxed{12}. \boxed{15}", "15"),
        (r"the width is \boxed{3}, so the area is \boxed{15}", "15"),
        (r"\boxed{42} in \boxed{}, or \boxed{...} or \boxed{\text{answer}} or \boxed{\ldots}", "42"),
        ("<answer>5</answer> <answer> </answer>", "5"),
        (r"<answer></answer> \boxed{6}", "6"),
        ("The answer is 3.5. I hope it is correct.", "3.5"),
        ("**Final answer:** 7", "7"),
        ("#### 1,234", "1,234"),
        (r"The final answer is $\frac{1}{2}$. Done.", r"$\frac{1}{2}$"),
        ("The answer: 1\nNo, the answer is 2\n", "2"),
        ("I get 42", None),
        (r"\boxed{}", None),
    ],
)
def test_the_answer_that_is_meant(text, answer):
    assert final_answer(text) == answer


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.sampled_from(["1", "2", "0.5", "x", "+", "-", r"\pi ", r"\sqrt{2}", r"\frac12"]),
        min_size=1,
        max_size=5,
    )
)
def test_box_tags_and_sentence_agree(parts):
    answer = "".join(parts)
    verdicts = {reply.verdict for reply in judge([form % answer for form in FORMS], ["1"] * len(FORMS))}
    assert len(verdicts) == 1


def test_the_page_on_answers_has_the_verdicts_of_all_three():
    page = (Path(__file__).parents[2] / "docs" / "ANSWERS.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    responses, golds = ([row[place].strip("`") for row in rows] for place in (0, 1))
    ours = [reply.verdict == "right" for reply in judge(responses, golds)]
    quoted = [f"${gold}$" for gold in golds]
    theirs = [verify(parse(gold), parse(text)) for text, gold in zip(responses, quoted, strict=True)]
    of_trl = [reply.verdict == "right" for reply in judge(responses, quoted, "trl")]
    found = [
        ["right" if verdict else "not right" for verdict in row]
        for row in zip(ours, theirs, of_trl, strict=True)
    ]
    assert len(rows) > 25
    assert [row[2:5] for row in rows] == found

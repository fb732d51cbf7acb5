package main

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"sync"
)

// The pictures of the example conversations are drawn, because a photo would belong to someone.

// mugPicture is a mug with a broken handle on a table.
var mugPicture = sync.OnceValue(func() []byte {
	return drawn(480, 360, func(x, y float64) color.Color {
		table := y > 270
		shadow := sq(x-235)/sq(150) + sq(y-292)/sq(20)
		handle := ring(x, y, 335, 190, 38, 56)
		broken := handle && y > 170 && y < 214+12*math.Sin(x/4)
		switch {
		case sq(x-225)/sq(84)+sq(y-94)/sq(17) < 1:
			return shade(color.RGBA{0x5b, 0x3a, 0x29, 0xff}, 1.25-(y-74)/60)
		case sq(x-225)/sq(95)+sq(y-92)/sq(24) < 1:
			return shade(color.RGBA{0xf2, 0xf6, 0xfa, 0xff}, 1)
		case x > 130 && x < 320 && y > 92 && y < 286 && !corner(x, y, 130, 320, 286, 26):
			if math.Abs(y-190+9*math.Sin(x/14)) < 5 || math.Abs(y-208+9*math.Sin(x/14)) < 3 {
				return color.RGBA{0xe8, 0xf1, 0xf8, 0xff}
			}
			return shade(color.RGBA{0x2f, 0x80, 0xc8, 0xff}, 1.12-math.Abs(x-190)/240)
		case handle && !broken:
			return shade(color.RGBA{0x2a, 0x74, 0xb8, 0xff}, 1.05-(x-320)/260)
		case ring(x, y-96, 366, 200, 30, 46) && y > 268 && x > 340:
			return color.RGBA{0x24, 0x66, 0xa4, 0xff}
		case shadow < 1:
			return shade(color.RGBA{0xa8, 0x7d, 0x52, 0xff}, 0.55+0.35*shadow)
		case table:
			return shade(color.RGBA{0xc4, 0x97, 0x66, 0xff}, 0.92+0.05*math.Sin(y/3+math.Sin(x/40)*3))
		default:
			return shade(color.RGBA{0xe9, 0xe4, 0xdc, 0xff}, 1.02-y/1400-x/4000)
		}
	})
})

// jacketPicture is a yellow jacket on a hanger.
var jacketPicture = sync.OnceValue(func() []byte {
	return drawn(360, 440, func(x, y float64) color.Color {
		middle := math.Abs(x - 180)
		body := y > 120 && y < 380 && middle < 90+(y-120)/30
		sleeve := y > 122 && y < 350 && math.Abs(middle-(98+(y-122)/7)) < 26-(y-122)/30
		switch {
		case ring(x, y, 180, 62, 12, 16) && y < 66, middle < 3 && y > 60 && y < 100, y > 96 && y < 124 && math.Abs(y-98-middle/4) < 4 && middle < 96:
			return color.RGBA{0x7a, 0x80, 0x88, 0xff}
		case middle < 26 && y > 112 && y < 150 && middle*1.3 < 150-y:
			return color.RGBA{0x8d, 0x6a, 0x14, 0xff}
		case body && middle < 3:
			return color.RGBA{0x6d, 0x6f, 0x75, 0xff}
		case body && y > 262 && y < 268 && middle > 26 && middle < 74:
			return color.RGBA{0xb0, 0x84, 0x10, 0xff}
		case body:
			return shade(color.RGBA{0xf6, 0xc2, 0x2c, 0xff}, 1.06-middle/420-(y-120)/2600)
		case sleeve:
			return shade(color.RGBA{0xe8, 0xb1, 0x1d, 0xff}, 1.02-(y-120)/1500)
		default:
			return shade(color.RGBA{0xdf, 0xe6, 0xee, 0xff}, 1.03-y/3000)
		}
	})
})

func drawn(width, height int, at func(x, y float64) color.Color) []byte {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(img, img.Bounds(), image.White, image.Point{}, draw.Src)
	for y := range height {
		for x := range width {
			img.Set(x, y, at(float64(x), float64(y)))
		}
	}
	var file bytes.Buffer
	_ = png.Encode(&file, img) // writing to a buffer does not fail
	return file.Bytes()
}

func sq(x float64) float64 { return x * x }

func ring(x, y, cx, cy, inner, outer float64) bool {
	d := sq(x-cx) + sq(y-cy)
	return d > sq(inner) && d < sq(outer)
}

// corner reports whether a point is outside the rounded lower corners.
func corner(x, y, left, right, bottom, radius float64) bool {
	cx := math.Min(math.Max(x, left+radius), right-radius)
	return y > bottom-radius && sq(x-cx)+sq(y-bottom+radius) > sq(radius)
}

func shade(c color.RGBA, factor float64) color.RGBA {
	channel := func(v uint8) uint8 { return uint8(math.Min(math.Max(float64(v)*factor, 0), 255)) }
	return color.RGBA{channel(c.R), channel(c.G), channel(c.B), 0xff}
}

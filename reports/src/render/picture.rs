//! A drawing as PNG, for programs that show a picture beside a link and read no SVG. Made without a
//! browser, with a font of its own, so that it has the same bytes on every machine.

use std::sync::Arc;

use anyhow::{Context, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

/// Pixels for each unit of the drawing.
const SCALE: f32 = 2.0;

/// The picture.
pub fn png(svg: &str) -> Result<Vec<u8>> {
    let mut fonts = fontdb::Database::new();
    for font in [notosans::REGULAR_TTF, notosans::BOLD_TTF] {
        fonts.load_font_data(font.to_vec());
    }
    fonts.set_sans_serif_family("Noto Sans");
    let options = Options {
        font_family: "Noto Sans".to_owned(),
        fontdb: Arc::new(fonts),
        ..Options::default()
    };
    let tree = Tree::from_str(svg, &options).context("the picture for links is not SVG")?;
    let size = tree
        .size()
        .to_int_size()
        .scale_by(SCALE)
        .context("the picture for links has no size")?;
    let mut pixels =
        Pixmap::new(size.width(), size.height()).context("the picture for links is too large")?;
    let scale = Transform::from_scale(SCALE, SCALE);
    resvg::render(&tree, scale, &mut pixels.as_mut());
    pixels
        .encode_png()
        .context("could not write the picture for links")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_and_classes_are_drawn() {
        let drawn = |body: &str| {
            let head = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 40 20\" \
                width=\"40\" height=\"20\"><style>.t{font-size:12px;fill:#00f;font-family:\
                system-ui,sans-serif}@media screen and (prefers-color-scheme:dark){.t{fill:#f00}}\
                </style>";
            let png = png(&format!("{head}{body}</svg>")).unwrap();
            assert!(png.starts_with(b"\x89PNG"));
            Pixmap::decode_png(&png).unwrap()
        };
        let empty = drawn("");
        let text = drawn("<text class=\"t\" x=\"2\" y=\"15\">Hm</text>");
        assert_eq!((empty.width(), empty.height()), (80, 40));
        assert!(empty.pixels().iter().all(|p| p.alpha() == 0));
        let inked = text.pixels().iter().filter(|p| p.alpha() > 0);
        assert!(inked.clone().count() > 100, "letters have pixels");
        assert!(inked.clone().all(|p| p.red() == 0), "of the light colours");
    }
}
